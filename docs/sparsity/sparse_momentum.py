"""Connections leave the first layer for the others, until the division is nearly the one that is
also reached from the Erdős–Rényi start (dashed), and accuracy follows. Bands reach from the worst
to the best of three networks.

Left, connections of three layers over nine epochs, means of three networks with 1,245 connections
altogether. From the uniform start the first layer falls from about 820 to 430, the middle one ends
at about 500 after a dip, and the last jumps from 16 to almost 290 and ends at about 310, of 320
positions. The dashed lines start at about 610, 550 and 80 and end within a tenth of the same
numbers. Right, test accuracy from the uniform start: both begin at 20 per cent; sparse momentum
reaches about 90, SET between 50 and 66.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.erdos_renyi import erdos_renyi, uniform
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_momentum import rewire_by_momentum
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

sizes, shapes, epochs = [64, 256, 32, 10], [(256, 64), (32, 256), (10, 32)], range(1, 10)
runs = [(uniform, rewire_by_momentum), (erdos_renyi, rewire_by_momentum), (uniform, rewire_network)]
held, read = np.zeros((3, 3, 9, 3)), np.zeros((3, 9, 3))  # run, layer, epoch, seed
for seed in range(3):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    for run, (start, move) in enumerate(runs):
        rng = np.random.default_rng(seed)
        network = mlp_of_counts(sizes, start(shapes, 0.05), rng=rng)
        optimizer = Momentum(network, learning_rate=0.1)
        for epoch in epochs:
            train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            held[run, :, epoch - 1, seed] = [layer.weight.nnz for layer in network.layers[::2]]
            read[run, epoch - 1, seed] = 100 * accuracy(network, x_test, labels_test)
            share = cosine_fraction(epoch, end=8, initial=0.3)
            move(network, optimizer, fraction=share, rng=rng)

fig, (left, right) = plt.subplots(1, 2)
for layer, (name, height) in enumerate([("first", 720), ("middle", 580), ("last", 190)]):
    for run, style in [(1, "--"), (0, "-")]:
        left.plot(epochs, held[run, layer].mean(axis=1), f"C{layer}{style}")
    left.text([1.8, 5.5, 4][layer], height, name, color=f"C{layer}")
left.set(xlabel="epoch", ylabel="connections of a layer", ylim=(0, 850), xticks=[1, 5, 9])
for run, style, name, height in [(0, "C0o-", "sparse\nmomentum", 67), (2, "C1s--", "SET", 36)]:
    right.plot(epochs, read[run].mean(axis=1), style, markersize=4)
    low, high = read[run].min(axis=1), read[run].max(axis=1)
    right.fill_between(epochs, low, high, color=style[:2], alpha=0.3)
    right.text(5, height, name, color=style[:2])
right.set(xlabel="epoch", ylabel="test accuracy in %", ylim=(0, 102), xticks=[1, 5, 9])
