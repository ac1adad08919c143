"""Every connection, a dot, of two networks that have equally many. At one density everywhere the
last layer gets a handful; Erdős–Rényi gives it almost four times as many, at the cost of the large
layer in the middle.

Two rows of three rectangles drawn to one scale: weight matrices of 96 × 64, 96 × 96 and 10 × 96
positions, 3 % of all taken. In the upper row, uniform, the dots are equally dense in all three, and
a neuron has 2, 3 and 3 inputs on average. In the lower row, Erdős–Rényi, the middle one is thinner,
and the flat last one crowded: 2, 2 and 11 inputs.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.erdos_renyi import erdos_renyi, sample_positions, uniform

shapes = [(96, 64), (96, 96), (10, 96)]
fig, axes = plt.subplots(2, 1, figsize=(5.6, 4.4))
for ax, distribute, name in [
    (axes[0], uniform, "uniform"),
    (axes[1], erdos_renyi, "Erdős–Rényi"),
]:
    rng = np.random.default_rng(0)
    left = 0
    for (n_out, n_in), count in zip(shapes, distribute(shapes, 0.03), strict=True):
        exists = np.full(n_out * n_in, np.nan)
        exists[sample_positions(n_out * n_in, count, rng=rng)] = 1
        place = (left, left + n_in, n_out, 0)
        ax.imshow(exists.reshape(n_out, n_in), extent=place, vmin=0, vmax=1.6, interpolation="none")
        ax.add_patch(plt.Rectangle((left, 0), n_in, n_out, fill=False))
        ax.text(left + n_in / 2, n_out + 3, f"{count / n_out:.0f} a neuron", ha="center", va="top")
        left += n_in + 20
    ax.text(244, 60, name, ha="center", weight="bold")
    ax.set(xlim=(-1, left - 19), ylim=(113, -1))
    ax.axis("off")
for x, name in [(32, "layer 1"), (132, "layer 2"), (248, "layer 3")]:
    axes[0].text(x, -4, name, ha="center")
