"""What does it take to kill a network by pruning, and what to keep it alive?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network
from lexicon.sparsity.layer_collapse import (
    collapsed_layers,
    connected,
    critical_count,
    guarded_masks,
)
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SPARSITY = 0.96  # try 0.8, 0.9: at 0.8 no guard is needed; at 0.9 all layers live, on few paths
LEAST = 100  # try 1, 32: one weight a layer saves the layer in name only
SEED = 0  # try 1: another draw, the same end

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 512, 64, 32, 10], rng=rng)  # not trained yet
scores = magnitude_scores(network)
total = sum(score.size for score in scores.values())
print(f"of {total} weights, one threshold must keep {critical_count(scores)}")
print(" " * 20 + "".join(f"{name:>9}" for name in scores) + "   trained   empty")
for way, masks in [
    ("global", global_masks(scores, SPARSITY)),
    ("guarded", guarded_masks(scores, SPARSITY, least=LEAST)),
    ("per layer", layer_masks(scores, SPARSITY)),
]:
    pruned = prune_network(network, masks)
    again = np.random.default_rng(SEED)  # the same batches for all
    optimizer = Momentum(pruned, learning_rate=0.1)
    train(pruned, optimizer, x, labels, epochs=5, batch_size=64, rng=again)
    print(f"{way:9}      kept" + "".join(f"{mask.sum():9d}" for mask in masks.values()))
    print(
        "          on a path" + "".join(f"{m.sum():9d}" for m in connected(masks).values()), end=""
    )
    print(f"   {accuracy(pruned, x_test, labels_test):7.3f}   {collapsed_layers(masks)}")
