"""Keeping the largest weights against keeping as many at random, in three trained networks; bands
reach from the worst to the best. Where most are removed both choices hurt, and only the first heals
in three epochs of fine-tuning.

Two panels, test accuracy in per cent against the share of weights removed: 50, 80, 90 and 95 %.
Just pruned, accuracy falls from about 96 to 55 where the largest were kept; where a random choice
was kept it is 43 at first and near guessing from 80 % on. Fine-tuned, the largest stay at about 95
or above up to 90 % and end at 89. The random choice starts at 95 too, but falls to 84, 60 and 29.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

kept, seeds = [0.5, 0.2, 0.1, 0.05], range(3)
read = np.zeros((2, 2, len(kept), len(seeds)))  # pruned, fine-tuned; largest, random
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    dense = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(dense, learning_rate=0.1)
    train(dense, optimizer, x, labels, epochs=10, batch_size=64, rng=rng)
    for i, share in enumerate(kept):
        for choice in (0, 1):
            layers = []
            for layer in dense.layers[::2]:
                weight, bias = layer.params["weight"], layer.params["bias"]
                mask = magnitude_mask(weight, 1 - share)
                mask = rng.permuted(mask) if choice else mask  # as many, anywhere
                layers += [CSRLinear.from_dense(weight, mask, bias), Activation(relu)]
            pruned = Sequential(layers[:-1])
            read[0, choice, i, seed] = accuracy(pruned, x_test, labels_test)
            optimizer = Momentum(pruned, learning_rate=0.1)
            again = np.random.default_rng(seed)
            train(pruned, optimizer, x, labels, epochs=3, batch_size=64, rng=again)
            read[1, choice, i, seed] = accuracy(pruned, x_test, labels_test)

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, curves in zip(axes, ["pruned", "fine-tuned"], 100 * read, strict=True):
    for curve, style in zip(curves, ["C0o-", "C1s--"], strict=True):
        ax.semilogx(kept, curve.mean(axis=1), style, markersize=4)
        ax.fill_between(kept, curve.min(axis=1), curve.max(axis=1), color=style[:2], alpha=0.3)
    ax.set(title=title, xlabel="weights removed", ylim=(0, 102), xlim=(0.6, 0.04))
    ax.set_xticks(kept, [f"{100 - 100 * share:.0f} %" for share in kept])
    ax.minorticks_off()
axes[0].set_ylabel("test accuracy in %")
axes[0].text(0.55, 72, "largest kept", color="C0")
axes[0].text(0.27, 31, "random kept", color="C1")
