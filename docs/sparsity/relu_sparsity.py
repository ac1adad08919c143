"""The share of ReLU activations that are not zero, epoch by epoch; bands reach over three runs. It
starts at half, and the learning rate decides which way it goes; k-WTA holds it where you put it.

Two panels, first and second hidden layer: activations that are not zero, in per cent, against
epochs 0 to 10, for three learning rates. All start near 50 %. At a rate of 0.01 both layers rise to
about 60 %; at 0.05 they end about where they began; at 0.2 the first layer falls to a few per cent
and the second to about an eighth. A dotted line at eight per cent shows k-WTA with 5 of 64.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.relu_sparsity import input_densities
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rates, seeds = [0.01, 0.05, 0.2], range(3)
share = np.zeros((2, len(rates), len(seeds), 11))
for i, rate in enumerate(rates):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, labels, _, _ = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 64, 64, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=rate)
        for epoch in range(11):
            densities = input_densities(network, x)
            for layer in (0, 1):
                share[layer, i, seed, epoch] = 100 * densities[f"{2 * layer + 2}.weight"].mean()
            if epoch < 10:
                train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, curves in zip(axes, ["hidden layer 1", "hidden layer 2"], share, strict=True):
    for curve, style in zip(curves, ["C0-", "C1--", "C2-."], strict=True):
        ax.plot(range(11), curve.mean(axis=0), style)
        ax.fill_between(range(11), curve.min(axis=0), curve.max(axis=0), color=style[:2], alpha=0.3)
    ax.axhline(100 * 5 / 64, color="black", linestyle=":", linewidth=1)
    ax.set(title=title, xlabel="epochs", xlim=(0, 10), ylim=(0, 80), xticks=[0, 5, 10])
axes[0].set_ylabel("not zero in %")
axes[0].text(4, 70, "rate 0.01", color="C0")
axes[0].text(6, 39, "rate 0.05", color="C1")
axes[0].text(2.5, 17, "rate 0.2", color="C2")
axes[1].text(3.2, 1.5, "k-WTA, 5 of 64", color="black")
