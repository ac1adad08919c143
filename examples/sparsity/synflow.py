"""Can a network be pruned well before it has seen a single sample?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network, random_scores
from lexicon.sparsity.synflow import synflow_masks, synflow_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

HIDDEN = 64  # try 32: half as wide; one cut fails at 0.90 already
ROUNDS = 100  # try 1: a few steps instead of a hundred; still no layer is emptied
SEED = 0  # try 1: another draw; at 0.98 one cut still empties two layers

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, HIDDEN, HIDDEN, 10], rng=rng)

print("          connections left, by layer      test accuracy after training")
print("sparsity     one cut         rounds      one cut   rounds   random")
for sparsity in [0.8, 0.9, 0.95, 0.98]:
    once = global_masks(synflow_scores(dense), sparsity)
    rounds = synflow_masks(dense, sparsity, rounds=ROUNDS)
    chance = layer_masks(random_scores(dense, rng=rng), sparsity)
    row = f"{sparsity:8.2f}  "
    for masks in (once, rounds):
        row += " ".join(f"{mask.sum():4d}" for mask in masks.values()) + "  "
    for masks in (once, rounds, chance):
        network = prune_network(dense, masks)
        optimizer = Momentum(network, learning_rate=0.2)
        again = np.random.default_rng(SEED)  # the same batches for all
        train(network, optimizer, x, labels, epochs=10, batch_size=128, rng=again)
        row += f"{accuracy(network, x_test, labels_test):9.3f}"
    print(row)
