"""A layer's weights, brighter where larger, blank where zero. Training made most of them small and
none zero; cut to the same sparsity, the zeros lie scattered or fill whole rows.

Three maps of the same 64 × 64 weights, one row for each neuron. As trained, no cell is blank,
though half of the weights are below a twentieth of the largest: 0 % zeros, 0 % zero rows. With the
three quarters cut that are smallest, cells are blank all over: 75 % zeros, 23 % zero rows. With the
three quarters of the rows cut that are weakest, sixteen full rows stand alone: 75 % zeros, 75 %
zero rows.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.sparsity import sparsity, structured_sparsity
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rng = np.random.default_rng(0)
network = mlp([64, 64, 10], rng=rng)
optimizer = Momentum(network, learning_rate=0.05, weight_decay=0.01)
train(network, optimizer, *load_digits(), epochs=10, batch_size=32, rng=rng)
size = np.abs(network.layers[0].params["weight"])
large = top_k(size.ravel(), 1024).reshape(64, 64)
strong = top_k(np.linalg.norm(size, axis=1), 16)[:, None]

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.6), sharey=True)
for ax, name, keeps in [
    (axes[0], "as trained", True),
    (axes[1], "small ones cut", large),
    (axes[2], "weak rows cut", strong),
]:
    weight = np.where(keeps, size, 0)
    zeros, empty = 100 * sparsity(weight), 100 * structured_sparsity(weight, axis=0)
    ax.imshow(np.where(weight != 0, weight, np.nan), vmin=0, vmax=0.4)
    ax.set(title=f"{name}\n{zeros:.0f} % zeros\n{empty:.0f} % zero rows")
    ax.set(xlabel="input", xticks=[0, 63], yticks=[0, 63])
axes[0].set(ylabel="neuron")
