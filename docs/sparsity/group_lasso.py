"""The hidden layer of two networks that read the digits about equally well, a neuron a row, blank
where a weight is exactly zero. L1 leaves holes in every row; group lasso leaves rows, and blank
rows between them.

Two pictures of 64 by 64 weights, rows are neurons, columns are pixels, colours are sizes. Left,
L1: nearly half of the cells are blank, scattered over all rows, and no row is blank altogether; the
columns of pixels that are hardly ever lit are blank, or nearly. Right, group lasso: thirteen rows
are blank from end to end, and the others are filled but for a few cells.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.group_lasso import ProximalGroupLasso
from lexicon.sparsity.l1_regularization import ProximalL1
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

fig, axes = plt.subplots(1, 2, sharey=True)
x, labels, *test = stratified_split(*load_digits(), rng=np.random.default_rng(0))
for ax, method, title in [
    (axes[0], ProximalL1, "L1"),
    (axes[1], ProximalGroupLasso, "group lasso"),
]:
    rng = np.random.default_rng(0)
    network = mlp([64, 64, 10], rng=rng)
    momentum = Momentum(network, learning_rate=0.05)
    optimizer = method(momentum, network, strength=0.001, names=["0.weight"])
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    weight = network.params["0.weight"]
    image = ax.imshow(np.where(weight != 0, np.abs(weight), np.nan), vmin=0, vmax=0.4)
    ax.set(title=title, xlabel="pixel", xticks=[0, 32, 63], yticks=[0, 32, 63])
axes[0].set_ylabel("hidden neuron")
fig.colorbar(image, ax=axes, shrink=0.8, label="weight size |w|", ticks=[0, 0.2, 0.4])
