"""Which layer can lose how much, and what if all lose that much at once?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sensitivity import (
    budget_sparsities,
    sensitivity,
    sparsity_masks,
    tolerated_sparsities,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

TOLERANCE = 0.05  # try 0.01: together it costs hardly more than alone
TOTAL = 0.9  # try 0.5: half the weights can go any way
SEED = 0  # try 1: other numbers, the last row still ahead

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
x, labels, x_val, labels_val = stratified_split(x, labels, rng=rng)
network = mlp([64, 256, 32, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.1), x, labels, epochs=5, batch_size=64, rng=rng)

scores, sparsities = magnitude_scores(network), [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
curves = sensitivity(network, scores, sparsities, lambda n: accuracy(n, x_val, labels_val))
print("one layer pruned by", *(f"{s:6.2f}" for s in sparsities))
for name, curve in curves.items():
    print(f"{name}, {scores[name].size:6d}  ", *(f"{a:6.3f}" for a in curve))

dense = accuracy(network, x_val, labels_val)
alone = tolerated_sparsities(curves, sparsities, dense - TOLERANCE)
together = prune_network(network, sparsity_masks(scores, alone))
lost = [dense - curves[name][sparsities.index(s)] for name, s in alone.items()]
print(
    f"\ntolerated {[*alone.values()]}: alone they lose", *(f"{drop:.3f}" for drop in lost), end=""
)
print(f", together {dense - accuracy(together, x_val, labels_val):.3f}")

sizes = {name: score.size for name, score in scores.items()}
shares = budget_sparsities(curves, sparsities, sizes, TOTAL)
ways = layer_masks(scores, TOTAL), global_masks(scores, TOTAL), sparsity_masks(scores, shares)
print(f"\n{TOTAL:.0%} of all weights removed; test accuracy without fine-tuning")
for way, masks in zip(["one sparsity", "one threshold", "by sensitivity"], ways, strict=True):
    pruned = prune_network(network, masks)
    counts = "".join(f"{int(mask.sum()):7d}" for mask in masks.values())
    print(f"{way:14s}  kept {counts}   {accuracy(pruned, x_test, labels_test):.3f}")
