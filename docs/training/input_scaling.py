"""A hundred steps of gradient descent on the same two samples, each with half the highest rate.
Standardised inputs make the valley round, and the first step arrives.

Two maps of the loss over weight and bias, with contour lines. On the left, for inputs 3 and 5, the
lines are a narrow valley that falls steeply from upper left to lower right. The path leaps from 0
to the valley's floor in its first step, then crawls along it in steps too short to tell apart. It
has done about a quarter of the way along it to the minimum, a cross at weight 1 and bias −2. On the
right, for the standardised inputs −1 and 1, the lines are circles, and a single straight step leads
from 0 to the cross at weight 1 and bias 2.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.input_scaling import Standardizer, curvatures

x, targets = np.array([[3.0], [5.0]]), np.array([[1.0], [3.0]])
weight, bias = np.meshgrid(np.linspace(-2.4, 3, 80), np.linspace(-2.8, 2.8, 80))
fig, axes = plt.subplots(1, 2, figsize=(5.6, 3.3), sharey=True)
for ax, given, name in [
    (axes[0], x, "inputs 3 and 5"),
    (axes[1], Standardizer(x).forward(x), "inputs −1 and 1"),
]:
    layer = Linear(np.zeros((1, 1)))
    optimizer = GradientDescent(layer, learning_rate=1 / curvatures(given)[0])
    path = [(0.0, 0.0)]
    for _ in range(100):
        layer.backward((layer.forward(given) - targets) / 2)
        optimizer.step()
        path.append((layer.params["weight"].item(), layer.params["bias"].item()))
    errors = weight[..., None] * given[:, 0] + bias[..., None] - targets[:, 0]
    loss = (errors**2).mean(axis=-1) / 2
    ax.contour(weight, bias, loss, levels=[0.05, 0.5, 1.5, 3], colors="C5", linewidths=0.7)
    ax.plot(
        *np.transpose(path),
        "o-",
        color="C1",
        linewidth=1.2,
        markersize=3,
        markevery=[0, *range(1, 100, 9)],
    )
    best = np.linalg.solve(np.column_stack([given, np.ones(2)]), targets[:, 0])
    ax.plot(*best, "k+", markersize=11, markeredgewidth=2)
    ax.set(title=name, xlabel="weight", xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
axes[0].set(ylabel="bias")
