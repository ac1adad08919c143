"""Should weights compete within their neuron, their layer, or the whole network?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import (
    global_masks,
    layer_masks,
    neuron_masks,
    prune_network,
    random_scores,
)
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

ONE_IN = 32  # try 2, 8: with more weights to keep, who competes with whom matters less
SCALE = 1.0  # try 10.0: the same function in other units, and one threshold keeps one layer
SEED = 0  # try 1: other numbers, global by magnitude still ends best

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 256, 32, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.1), x, labels, epochs=10, batch_size=64, rng=rng)
first, _, second, _, _ = network.layers
first.params["weight"] *= SCALE  # ReLU passes the factor on,
first.params["bias"] *= SCALE
second.params["weight"] /= SCALE  # and the next layer takes it back

print(f"dense accuracy {accuracy(network, x_test, labels_test):.3f}; 1 weight in {ONE_IN} is kept")
print("                    kept in layer              accuracy")
print("score      among       1      2    3  total   pruned  fine-tuned")
for score, scores in [
    ("magnitude", magnitude_scores(network)),
    ("random", random_scores(network, rng=rng)),
]:
    for among, choose in [("all", global_masks), ("layer", layer_masks), ("neuron", neuron_masks)]:
        masks = choose(scores, 1 - 1 / ONE_IN)
        counts = [int(mask.sum()) for mask in masks.values()]
        pruned = prune_network(network, masks)
        row = f"{score:10} {among:7}" + "{:6d} {:6d} {:4d} {:6d}".format(*counts, sum(counts))
        row += f"   {accuracy(pruned, x_test, labels_test):6.3f}"
        optimizer = Momentum(pruned, learning_rate=0.1)
        again = np.random.default_rng(SEED)  # the same batches for all
        train(pruned, optimizer, x, labels, epochs=3, batch_size=64, rng=again)
        print(f"{row}  {accuracy(pruned, x_test, labels_test):10.3f}")
