"""How much of what is kept still connects inputs with outputs, in untrained networks pruned by
magnitude; bands reach over five seeds. One threshold for all cuts the network through long before
per-layer pruning does; a guard of a hundred weights for each layer stops the fall, and no more.

Share of the kept weights that lie on a path from an input to an output, in per cent, against the
share of all weights kept, from 30 down to 1 per cent, logarithmic. Global: nearly all at 30, three
quarters at 22, about 8 at 12, none below 5. Guarded: the same at first, then level at about a
quarter, rising to a third at the end. Per layer: nearly all down to 15, about nine in ten at 9,
under a fifth at 2.5, next to none at 1.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, layer_masks
from lexicon.sparsity.layer_collapse import connected, guarded_masks
from lexicon.sparsity.magnitude_prune import magnitude_scores

kept = np.geomspace(0.3, 0.01, 12)
share = np.zeros((3, len(kept), 5))
for seed in range(5):
    scores = magnitude_scores(mlp([64, 512, 64, 32, 10], rng=np.random.default_rng(seed)))
    for i, density in enumerate(kept):
        for way, masks in enumerate(
            [
                global_masks(scores, 1 - density),
                guarded_masks(scores, 1 - density, least=100),
                layer_masks(scores, 1 - density),
            ]
        ):
            paths = sum(mask.sum() for mask in connected(masks).values())
            share[way, i, seed] = 100 * paths / sum(mask.sum() for mask in masks.values())

fig, ax = plt.subplots()
for curve, style in zip(share, ["C1s--", "C2^-.", "C0o-"], strict=True):
    ax.semilogx(100 * kept, curve.mean(axis=1), style, markersize=4)
    low, high = curve.min(axis=1), curve.max(axis=1)
    ax.fill_between(100 * kept, low, high, color=style[:2], alpha=0.3)
ax.text(8.2, 101, "per layer", color="C0")
ax.text(1.75, 36, "guarded", color="C2")
ax.text(8.5, 7, "global", color="C1")
ax.set(xlabel="weights kept, %", ylabel="of these on a path, %", ylim=(-3, 112), xlim=(33, 0.9))
ax.set_xticks([30, 20, 10, 5, 2, 1], ["30", "20", "10", "5", "2", "1"])
ax.minorticks_off()
