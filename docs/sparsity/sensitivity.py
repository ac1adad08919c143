"""One layer of a trained network pruned, the others whole; bands reach over five networks. Left, by
the share that the layer keeps, the last layer falls first. Right, the same curves by how many
weights it keeps: the first layer, the biggest, needs by far the most.

Two panels, validation accuracy in per cent, both against a logarithmic axis that runs down to the
right. Left, weights kept in per cent, from 50 to 2: the middle layer falls from 95 to 83, the first
from 94 to 51, the last from 95 to 34. Right, weights kept, from eight thousand to six: the curves
lie side by side. The first layer is down to half at some three hundred weights, the middle one is
still above 80 at 164, and there the last one's curve only begins, with next to no loss.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sensitivity import sensitivity
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

kept, seeds = np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0.02]), range(5)
read = np.zeros((3, len(kept), len(seeds)))
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, _, _ = stratified_split(*load_digits(), rng=rng)
    x, labels, x_val, labels_val = stratified_split(x, labels, rng=rng)
    network = mlp([64, 256, 32, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.1)
    train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
    scores = magnitude_scores(network)
    evaluate = partial(accuracy, x=x_val, labels=labels_val)
    look = sensitivity(network, scores, 1 - kept, evaluate)
    read[:, :, seed] = 100 * np.array(list(look.values()))

fig, axes = plt.subplots(1, 2, sharey=True)
sizes = [score.size for score in scores.values()]
for layer, size, style in zip(read, sizes, ["C0o-", "C1s--", "C2^-."], strict=True):
    for ax, across in zip(axes, (100 * kept, size * kept), strict=True):
        ax.semilogx(across, layer.mean(axis=1), style, markersize=4)
        low, high = layer.min(axis=1), layer.max(axis=1)
        ax.fill_between(across, low, high, color=style[:2], alpha=0.3)
axes[0].set(xlabel="of the layer kept, %", ylabel="validation accuracy, %", ylim=(0, 113))
axes[0].set(xlim=(60, 1.7))
axes[0].set_xticks([50, 20, 10, 5, 2], ["50", "20", "10", "5", "2"])
axes[1].set(xlabel="weights kept", xlim=(20000, 4))
axes[1].set_xticks([10_000, 1000, 100, 10], ["10,000", "1,000", "100", "10"])
for ax in axes:
    ax.minorticks_off()
axes[0].text(50, 42, "last layer,\n320 weights", color="C2")
axes[0].text(50, 68, "first,\n16,384", color="C0")
axes[0].text(16, 100, "middle, 8,192", color="C1")
