"""Three ways to hold the same number of connections, three networks each; bands reach from the
worst to the best. With 2 % of all connections everything depends on where new ones grow. With 10 %
it hardly matters.

Two panels, test accuracy in per cent against the epoch, one to six. With 2 % of the connections
all three begin at about 23. The static networks climb to about 40, SET to about 50, and RigL to
almost 90, most of that within three epochs, far above the bands of the others. With 10 % all three
rise from about 74 and end between 92 and 96.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction, rewire_by_gradient
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

epochs, ways = range(1, 7), ["static", "SET", "RigL"]
read = np.zeros((2, 3, 6, 3))  # density, way, epoch, seed
for seed in range(3):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    for curves, density in zip(read, [0.02, 0.1], strict=True):
        for curve, way in zip(curves, ways, strict=True):
            rng = np.random.default_rng(seed)
            network = sparse_mlp([64, 256, 10], density=density, rng=rng)
            optimizer = Momentum(network, learning_rate=0.1)
            for epoch in epochs:
                train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
                curve[epoch - 1, seed] = 100 * accuracy(network, x_test, labels_test)
                share = cosine_fraction(epoch, end=6, initial=0.3)
                if way == "SET":
                    rewire_network(network, optimizer, fraction=share, rng=rng)
                elif way == "RigL":
                    batch = rng.choice(len(x), 64, replace=False)
                    rewire_by_gradient(network, optimizer, x[batch], labels[batch], fraction=share)

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, curves, title in zip(axes, read, ["2 % of connections", "10 %"], strict=True):
    for curve, style in zip(curves, ["C2^:", "C1s--", "C0o-"], strict=True):
        ax.plot(epochs, curve.mean(axis=1), style, markersize=4)
        low, high = curve.min(axis=1), curve.max(axis=1)
        ax.fill_between(epochs, low, high, color=style[:2], alpha=0.3)
    ax.set(title=title, xlabel="epoch", xticks=[1, 3, 5], ylim=(0, 102))
axes[0].set_ylabel("test accuracy in %")
for name, height, colour in [("static", 25, "C2"), ("SET", 58, "C1"), ("RigL", 94, "C0")]:
    axes[0].text(4.6, height, name, color=colour)
