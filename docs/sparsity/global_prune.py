"""How much of each layer survives one threshold for all, before training and after; bands reach
over five seeds. Below the dotted diagonal a layer keeps less than its share. Who keeps more than
whom is settled before training: it follows from how many inputs a neuron has.

Two panels, per cent of a layer's weights kept against per cent of all kept, 50 down to 3, both
logarithmic. The last layer, with 32 inputs a neuron, lies far above the diagonal: after training it
keeps almost a third of its weights where the network keeps 3 per cent. The first, with 64 inputs,
lies just above. The middle one, with 256 inputs, lies below: before training it falls to about a
thousandth where 6 per cent are kept, after training it still has more than a half per cent at 3.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

kept, seeds = 2.0 ** -np.arange(1, 5.5, 0.5), range(5)
share = np.zeros((2, 3, len(kept), len(seeds)))  # before, after; layer
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 256, 32, 10], rng=rng)
    for after in (0, 1):
        if after:
            optimizer = Momentum(network, learning_rate=0.1)
            train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
        for i, density in enumerate(kept):
            masks = global_masks(magnitude_scores(network), 1 - density)
            share[after, :, i, seed] = [100 * mask.mean() for mask in masks.values()]

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, layers in zip(axes, ["before training", "after training"], share, strict=True):
    ax.loglog(100 * kept, 100 * kept, "k:")
    for layer, style in zip(layers, ["C0o-", "C1s--", "C2^-."], strict=True):
        drawn = (layer > 0).all(axis=1)  # where a layer is empty, no logarithm
        ax.plot(100 * kept[drawn], layer[drawn].mean(axis=1), style, markersize=4, markevery=2)
        low, high = layer[drawn].min(axis=1), layer[drawn].max(axis=1)
        ax.fill_between(100 * kept[drawn], low, high, color=style[:2], alpha=0.3)
    ax.set(title=title, xlabel="weights kept in all, %", ylim=(0.05, 120), xlim=(55, 2.8))
    ax.set_xticks([50, 25, 12.5, 6, 3], ["50", "25", "12", "6", "3"])
    ax.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    ax.minorticks_off()
axes[0].set_ylabel("weights of a layer kept, %")
axes[1].text(11, 55, "last layer", color="C2")
axes[1].text(9, 14, "first", color="C0")
axes[1].text(28, 2.5, "middle", color="C1")
