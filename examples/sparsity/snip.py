"""Can one look at a batch tell which connections are worth training?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network, random_scores
from lexicon.sparsity.snip import snip_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

CLASSES = 10  # try 1: scores from pictures of zeros; some digits lose all their connections
SAMPLES = 100  # try 10: one picture of each digit is nearly enough
SEED = 0  # try 1: another draw; from 0.80 on, SNIP is still ahead of random

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, 64, 10], rng=rng)
each = SAMPLES // CLASSES
batch = np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(CLASSES)])
scores = snip_scores(dense, x[batch], labels[batch])

print("          connections  digits    test accuracy after training")
print("sparsity   by layer    cut off   SNIP   same per neuron  per layer  random")
for sparsity in [0.5, 0.8, 0.9, 0.95]:
    snip = global_masks(scores, sparsity)
    first, last = snip.values()
    neuron = {  # every hidden neuron keeps as many inputs and outputs, but other ones
        "0.weight": rng.permuted(first, axis=1),
        "2.weight": rng.permuted(last, axis=0),
    }
    layer = {name: rng.permuted(mask) for name, mask in snip.items()}  # as many, anywhere
    chance = layer_masks(random_scores(dense, rng=rng), sparsity)
    read = []
    for masks in (snip, neuron, layer, chance):
        network = prune_network(dense, masks)
        optimizer = Momentum(network, learning_rate=0.2)
        again = np.random.default_rng(SEED)  # the same batches for all
        train(network, optimizer, x, labels, epochs=10, batch_size=128, rng=again)
        read.append(accuracy(network, x_test, labels_test))
    counts = f"{first.sum():5d} {last.sum():4d} {(~last.any(axis=1)).sum():9d}"
    print(
        f"{sparsity:8.2f} {counts}  {read[0]:9.3f} {read[1]:14.3f} {read[2]:11.3f} {read[3]:8.3f}"
    )
