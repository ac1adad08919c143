"""Where the connections that are left lie, in three untrained networks; bands reach from the lowest
to the highest. Cut at once, the output layer takes all and the two others die; cut in rounds, all
three layers live on.

Two panels, the share of all kept connections that each of three layers holds, in per cent, against
the share of weights removed: 50, 80, 90, 95, 98 and 99 %. Cut once, the two hidden layers start at
about 44 % each and fall to zero by 98 %, while the output layer rises from 14 to 100. In rounds,
the first stays near two fifths, the second falls to little more than a fifth, and the output layer
rises to little more than a third.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks
from lexicon.sparsity.synflow import synflow_masks, synflow_scores

kept, seeds = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01], range(3)
share = np.zeros((2, 3, len(kept), len(seeds)))  # at once, in rounds; layers
for seed in seeds:
    network = mlp([64, 64, 64, 10], rng=np.random.default_rng(seed))
    for i, density in enumerate(kept):
        once = global_masks(synflow_scores(network), 1 - density)
        rounds = synflow_masks(network, 1 - density, rounds=50)
        for j, masks in enumerate((once, rounds)):
            counts = np.array([mask.sum() for mask in masks.values()])
            share[j, :, i, seed] = 100 * counts / counts.sum()

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, layers in zip(axes, ["one cut", "rounds"], share, strict=True):
    for layer, style in zip(layers, ["C0o-", "C1s--", "C2^:"], strict=True):
        ax.semilogx(kept, layer.mean(axis=1), style, markersize=4)
        ax.fill_between(kept, layer.min(axis=1), layer.max(axis=1), color=style[:2], alpha=0.3)
    ax.set(title=title, xlabel="weights removed", ylim=(-3, 103), xlim=(0.6, 0.008))
    ax.set_xticks([0.5, 0.1, 0.02], ["50 %", "90 %", "98 %"])
    ax.minorticks_off()
axes[0].set_ylabel("of what is kept, in %")
axes[0].text(0.13, 75, "output", color="C2", ha="right")
axes[1].text(0.5, 50, "first", color="C0")
axes[1].text(0.032, 13, "second", color="C1")
axes[1].text(0.5, 5, "output", color="C2")
