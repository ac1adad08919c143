"""Exclusive or with the two hidden neurons above: squares want a 1, circles a 0. Each neuron begins
to speak at its dashed line; together they bend the plane, so that one straight cut can part what
none could part before.

Two drawings of the same four inputs: circles where the answer is 0, squares where it is 1. In the
first, the plane of the inputs, the squares are opposite corners of a square and the circles the
other two. Two parallel dashed lines slope down: neuron 1 begins to speak at the one through (0, 0),
neuron 2 at the one through both squares. A strip around the second line, where the network's output
is above one half, holds both squares and leaves one circle on each side. In the second, neuron 2
against neuron 1, all inputs land on one bent line, flat up to (1, 0), where both squares lie on top
of each other, and rising from there. A single straight edge has the squares below it, and the
circles, at (0, 0) and (2, 1), above.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp

network = mlp([2, 2, 1], rng=np.random.default_rng(0), dtype=np.float64)
first, relu, last = network.layers
first.params["weight"][:], first.params["bias"][:] = 1, [0, -1]
last.params["weight"][:] = [1, -2]

side = np.linspace(-0.7, 2.5, 161)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
corners = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
bent = relu.forward(first.forward(corners))

fig, (inputs, hidden) = plt.subplots(1, 2)
for ax, points, z in [(inputs, corners, network.forward(grid)), (hidden, bent, last.forward(grid))]:
    ax.contourf(side, side, z.reshape(161, 161), levels=[0.5, 9], colors=["C1"], alpha=0.4)
    ax.plot(*points[:2].T, "ko", markersize=8)
    ax.plot(*points[2:].T, "ks", markersize=8)
    ax.set(aspect="equal", xticks=[0, 1, 2], yticks=[0, 1, 2])

along = {"rotation": -45, "rotation_mode": "anchor", "ha": "center"}
inputs.plot(side, 0 - side, "C0--", side, 1 - side, "C0--", zorder=1)
inputs.text(0.44, -0.3, "neuron 1", **along)
inputs.text(0.4, 0.4, "neuron 2", va="top", **along)
inputs.text(0.56, 0.56, "answer 1", **along)
inputs.set(title="inputs", xlabel="$x_1$", ylabel="$x_2$", xlim=(-0.7, 1.7), ylim=(-0.7, 1.7))

line = relu.forward(first.forward(np.stack([side, side], axis=1)))
hidden.plot(*line.T, "C0", zorder=1)
hidden.text(-0.3, 1.6, "all inputs land\non this line", color="C0")
hidden.text(2.4, -0.3, "answer 1", ha="right")
hidden.set(title="hidden layer", xlabel="neuron 1", ylabel="neuron 2")
hidden.set(xlim=(-0.5, 2.5), ylim=(-0.5, 2.5))
