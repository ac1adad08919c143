"""For each pixel of the digits, what it brings and how many of the 64 hidden neurons still read it
when each neuron keeps half of its inputs, averaged over five networks. Magnitude keeps
weights on edges that are almost always blank; Wanda keeps them where there is ink.

Three maps of eight by eight pixels. The first, the length of a pixel's values over the training
digits, is near zero in the outer columns, and high in the middle columns from top to bottom. The
second, the share of neurons that keep the pixel by magnitude, is uneven everywhere, about 40 per
cent even at the edges. The third, the same by Wanda, is zero at the left and right edge and up to
about 85 per cent in the middle.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import neuron_masks
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.wanda import wanda_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

length, kept = np.zeros(64), np.zeros((2, 64))
for seed in range(5):
    rng = np.random.default_rng(seed)
    x, labels, _, _ = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    length += np.linalg.norm(x, axis=0) / 5
    for i, scores in enumerate([magnitude_scores(network), wanda_scores(network, x)]):
        kept[i] += 100 * neuron_masks(scores, 0.5)["0.weight"].mean(axis=0) / 5

fig, axes = plt.subplots(1, 3)
names = ["length of the\npixel's values", "kept by\nmagnitude, %", "kept by\nWanda, %"]
for ax, name, values, top in zip(axes, names, [length, *kept], [30, 100, 100], strict=True):
    image = ax.imshow(values.reshape(8, 8), vmin=0, vmax=top)
    ax.set(title=name, xticks=[], yticks=[])
    fig.colorbar(image, ax=ax, orientation="horizontal", shrink=0.8, ticks=[0, top / 2, top])
