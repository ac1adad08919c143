"""One 2:4 mask, read both ways. Along each row, every group of four holds exactly two kept weights;
down the columns of the same mask, the outlined groups hold three or four.

Two copies of a square of 16 neurons by 16 inputs, cut from the mask of a trained layer, half of its
cells filled. Left, lines divide each row into groups of four inputs, and two cells of each group
are filled. Right, lines divide each column into groups of four neurons; about a third of these
groups are outlined, because three or four of their cells are filled.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.n_m_sparsity import n_m_mask
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rng = np.random.default_rng(0)
x, labels, *_ = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 64, 10], rng=rng)
optimizer = Momentum(network, learning_rate=0.05)
train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
mask = n_m_mask(np.abs(network.layers[0].params["weight"]), 2, 4)[48:64, 16:32]

fig, axes = plt.subplots(1, 2)
filled = np.where(mask, 0.65, np.nan)
for ax, title in zip(axes, ["groups along rows", "groups down columns"], strict=True):
    ax.imshow(filled, vmin=0, vmax=1, interpolation="nearest")
    ax.set(title=title, xlabel="input", xticks=[], yticks=[])
axes[0].set_ylabel("neuron")
edges = np.arange(-0.5, 16, 4)
axes[0].vlines(edges, -0.5, 15.5, color="black", linewidth=1.2)
axes[1].hlines(edges, -0.5, 15.5, color="black", linewidth=1.2)
over = mask.reshape(4, 4, 16).sum(axis=1) > 2
for group, column in np.argwhere(over):
    corner = column - 0.42, 4 * group - 0.36
    outline = plt.Rectangle(corner, 0.84, 3.72, fill=False, edgecolor="C0", linewidth=2.4)
    axes[1].add_patch(outline)
