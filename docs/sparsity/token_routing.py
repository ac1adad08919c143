"""Who gets the samples while eight experts learn. Left alone, two experts take all; a gentle second
loss shares the samples out; a strong one overshoots, and two experts take all again.

Three panels of stacked bands, one for each of eight experts, share of the samples in per cent
against ten epochs. Without balance loss only two bands are left from the first epoch on. At
strength 0.1 all eight bands remain, the largest about a quarter and the smallest narrow. At
strength 10 two bands are left after the first epoch, and end at half of the samples each.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts
from lexicon.sparsity.token_routing import LoadBalance
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

fig, axes = plt.subplots(1, 3, sharey=True)
for ax, strength in zip(axes, [0.0, 0.1, 10.0], strict=True):
    rng = np.random.default_rng(0)
    x, labels, *_ = stratified_split(*load_digits(), rng=rng)
    views = np.stack([rng.permutation(64) for _ in range(4)])
    x = np.take_along_axis(x, views[rng.integers(4, size=len(x))], axis=1)
    gate = Sequential([Linear(he_normal(64, 8, rng=rng)), LoadBalance(strength, k=1)])
    mixture = MixtureOfExperts(gate, [mlp([64, 8, 10], rng=rng) for _ in range(8)], k=1)
    optimizer = Momentum(mixture, learning_rate=0.1)
    loads = [mixture.choose(gate.forward(x)).mean(axis=0)]
    for _ in range(10):
        train(mixture, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
        loads.append(mixture.choose(gate.forward(x)).mean(axis=0))
    ax.stackplot(range(11), 100 * np.transpose(loads), edgecolor="black", linewidth=0.5)
    title = f"strength {strength:g}" if strength else "no balance loss"
    ax.set(title=title, xlabel="epoch", xticks=[0, 5, 10], xlim=(0, 10), ylim=(0, 100))
axes[0].set(ylabel="samples in %", yticks=[0, 50, 100])
