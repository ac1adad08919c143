"""A network learns to read turned digits: which of its weights should it keep?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.movement_prune import MovementLinear, movement_scores
from lexicon.sparsity.prune_schedule import cubic, prune_further, share_to_prune
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

TURN = 1  # try 0: the old task once more, and magnitude leads up to 0.90
RAMP = 3  # try 0: all cut at once; movement starts blind, and falls back at 0.50
SEED = 0  # try 1: other numbers, the same winners from 0.80 on

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
old = mlp([64, 64, 10], rng=rng)
train(old, Momentum(old, learning_rate=0.1), x, labels, epochs=10, batch_size=64, rng=rng)
x, x_test = (np.rot90(a.reshape(-1, 8, 8), TURN, (1, 2)).reshape(-1, 64) for a in (x, x_test))
print(f"accuracy before fine-tuning: {accuracy(old, x_test, labels_test):.3f}")

print("sparsity  weights  by magnitude  by movement  kept by both")
for sparsity in [0.5, 0.8, 0.9, 0.95, 0.98]:
    large = prune_network(old, layer_masks(magnitude_scores(old), 0.0))
    first, last = MovementLinear(old.layers[0]), MovementLinear(old.layers[2])
    moved = Sequential([first, Activation(relu), last])
    to_large, to_moved = (Momentum(network, learning_rate=0.1) for network in (large, moved))
    for epoch in range(6):
        now = cubic(epoch, start=0, end=RAMP, final=sparsity)
        share = share_to_prune(large, now)
        prune_further(large, to_large, layer_masks(magnitude_scores(large), share))
        first.sparsity = last.sparsity = now
        for network, optimizer in ((large, to_large), (moved, to_moved)):
            again = np.random.default_rng(epoch)  # the same batches for both
            train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=again)

    pruned = prune_network(moved, layer_masks(movement_scores(moved), sparsity))
    kept = [set(network.layers[0].positions) for network in (large, pruned)]
    both = len(kept[0] & kept[1]) / len(kept[1])  # in the first layer
    weights = sum(weight.size for weight in magnitude_scores(pruned).values())
    read = [accuracy(network, x_test, labels_test) for network in (large, pruned)]
    print(f"{sparsity:8.2f}{weights:9d}{read[0]:14.3f}{read[1]:13.3f}{both:14.0%}")
