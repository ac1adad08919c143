"""At 98 %, one cut tears a hole that eight epochs do not close. Six cuts, each of them large only
while there is much to cut from, end far higher after as many epochs. Bands reach from the worst to
the best of three networks.

Two panels over twelve epochs. Left, the share of weights left, on a logarithmic axis: all four
curves go from 100 to 2 %; one-shot falls at once, the geometric one in a straight line, the cubic
one faster at first, and the linear one hardly falls before it drops at the end. Right, test
accuracy, just before and just after each cut: one-shot drops from above 90 to about 33 and climbs
to about 76; the cubic one dips at each cut, most at the fifth, to 45, and ends at about 85.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import lexicon.sparsity.prune_schedule as schedule
from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

fig, (left, right) = plt.subplots(1, 2)
epochs = np.arange(13)
for name, style, at, height, sparsity_at in [
    ("one-shot", "C0-", -0.3, 2.1, partial(schedule.one_shot, at=4)),
    ("cubic", "C1-", 4.2, 6.0, partial(schedule.cubic, start=3, end=9)),
    ("linear", "C2--", 8.1, 45.0, partial(schedule.linear, start=3, end=9)),
    ("geometric", "C3:", 9.2, 4.5, partial(schedule.geometric, start=3, end=9)),
]:
    density = [100 - 100 * sparsity_at(epoch, final=0.98) for epoch in epochs]
    left.step(epochs, density, style, where="post")
    left.text(at, height, name, color=style[:2])
left.set(yscale="log", xlabel="epochs", ylabel="weights left in %", xlim=(-0.5, 14))
left.set_xticks([0, 4, 8, 12])
left.set_yticks([2, 10, 100], ["2", "10", "100"])
left.minorticks_off()

for sparsity_at, style in [
    (partial(schedule.one_shot, at=4, final=0.98), "C0-"),
    (partial(schedule.cubic, start=3, end=9, final=0.98), "C1-"),
]:
    read = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, *test = stratified_split(*load_digits(), rng=rng)
        dense, curve = mlp([64, 64, 10], rng=rng), []
        optimizer = Momentum(dense, learning_rate=0.1)
        for _ in range(4):
            train(dense, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            curve.append(accuracy(dense, *test))
        network = prune_network(dense, global_masks(magnitude_scores(dense), 0.0))
        optimizer = Momentum(network, learning_rate=0.1)
        for epoch in range(4, 12):
            share = schedule.share_to_prune(network, sparsity_at(epoch))
            masks = global_masks(magnitude_scores(network), share)
            schedule.prune_further(network, optimizer, masks)
            curve.append(accuracy(network, *test))
            train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            curve.append(accuracy(network, *test))
        read.append(curve)
    read = 100 * np.array(read)
    at = [1, 2, 3, *np.repeat(np.arange(4, 13), 2)[:-1]]
    right.plot(at, read.mean(axis=0), style)
    right.fill_between(at, read.min(axis=0), read.max(axis=0), color=style[:2], alpha=0.3)
right.text(4.5, 22, "one-shot", color="C0")
right.text(8.6, 96, "cubic", color="C1")
right.set(xlabel="epochs", ylabel="test accuracy in %", ylim=(0, 104), xticks=[0, 4, 8, 12])
