"""How deep does a digit get into a sparse network whose weights were scaled for a dense one?"""

from itertools import pairwise

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_initialization import sparse_he_normal
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

DENSITY = 0.1  # try 1.0, 0.02: nothing missing, one rule; at 2 % the right rule struggles too
DEPTH = 5  # try 1: one hidden layer costs one factor: behind, but under way
SEED = 0  # try 1: other draws, about the same powers of the density

sizes = [64, *[200] * DEPTH, 10]
counts = [round(DENSITY * n_in * n_out) for n_in, n_out in pairwise(sizes)]
table, results = [], []
for rule in ["dense rule", "real fan-in"]:
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp_of_counts(sizes, counts, rng=rng)
    for layer in network.layers[::2]:
        weight = sparse_he_normal(layer.weight.indptr, rng=rng)
        if rule == "dense rule":
            fan_in = np.diff(layer.weight.indptr)
            weight *= np.repeat(np.sqrt(fan_in / layer.weight.shape[1]), fan_in)
        layer.params["weight"][:] = weight

    signal = [x]
    for layer in network.layers:
        signal.append(layer.forward(signal[-1]))
    gradient = [rng.standard_normal(signal[-1].shape, dtype=np.float32)]
    for layer in network.layers[::-1]:
        gradient.insert(0, layer.backward(gradient[0]))
    table += [[np.mean(h**2) / np.mean(x**2) for h in signal[::2]]]
    table += [[np.mean(dh**2) / np.mean(gradient[-2] ** 2) for dh in gradient[:-1:2]]]

    optimizer = Momentum(network, learning_rate=0.05)
    loss = train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)[-1].loss
    read = accuracy(network, x_test, labels_test)
    results.append(f"{rule}: loss {loss:.3f}, accuracy {read:.3f} after five epochs")

print("mean squares     dense rule            real fan-in")
print("layer         signal  gradient     signal  gradient")
for layer, (down, up, kept, back) in enumerate(zip(*table, strict=True)):
    print(f"{layer:5d}     {down:10.1e}{up:10.1e} {kept:10.2f}{back:10.2f}")
print(*results, sep="\n")
