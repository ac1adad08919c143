"""Does it matter whether weights go all at once or bit by bit?"""

from functools import partial

import numpy as np

import lexicon.sparsity.prune_schedule as schedule
from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SPARSITY = 0.98  # try 0.9: so many remain that the schedules end within a few points
END = 9  # try 5, 11: two cuts gain little; with one epoch to heal, linear is hurt most
SEED = 0  # try 1: other numbers; cubic and geometric stay ahead

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, 64, 10], rng=rng)
train(dense, Momentum(dense, learning_rate=0.1), x, labels, epochs=4, batch_size=64, rng=rng)
everything = global_masks(magnitude_scores(dense), 0.0)  # sparse in form, still full
print(f"all weights, after 4 epochs: accuracy {accuracy(dense, x_test, labels_test):.3f}")
print("            weights left in epoch                                   after 12")
print("                5     6     7     8     9    10    11    12  FLOPs  accuracy")
for name, sparsity_at in {
    "one-shot": partial(schedule.one_shot, at=4),
    "linear": partial(schedule.linear, start=3, end=END),
    "cosine": partial(schedule.cosine, start=3, end=END),
    "cubic": partial(schedule.cubic, start=3, end=END),
    "geometric": partial(schedule.geometric, start=3, end=END),
}.items():
    network = prune_network(dense, everything)
    optimizer = Momentum(network, learning_rate=0.1)
    again = np.random.default_rng(SEED)  # the same batches for all
    left = []
    for epoch in range(4, 12):  # epochs done so far
        share = schedule.share_to_prune(network, sparsity_at(epoch, final=SPARSITY))
        masks = global_masks(magnitude_scores(network), share)
        schedule.prune_further(network, optimizer, masks)
        left.append(sum(weight.size for weight in magnitude_scores(network).values()))
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=again)
    flops = (4 + sum(left) / 4736) / 12  # of a dense network's
    counts = "".join(f"{count:6d}" for count in left)
    print(f"{name:11s}{counts}  {flops:4.0%}  {accuracy(network, x_test, labels_test):9.3f}")
