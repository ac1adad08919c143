"""The same valley along the coordinates, and turned by 45 degrees. Adam walks straight down the
first as if it were round. In the second it drops to the floor, and hardly moves along it.

Two panels with the elliptic level lines of a valley fifty times steeper across than along, and two
paths of forty-five steps from the same place in the valley. In the left panel the valley lies along
the horizontal axis. Plain descent zigzags across, then follows the floor, and covers about four
fifths of the way. Adam takes a straight diagonal line to the minimum and a little beyond. In the
right panel everything is turned. The path of plain descent is the same one, turned with the valley.
Adam goes straight across to the floor, swings there, and covers only a tenth of the way along.
"""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from lexicon.training.adam import Adam
from lexicon.training.gradient_descent import GradientDescent

slope, around = np.array([1.0, 50.0]), np.linspace(0, 2 * np.pi, 61)
fig, axes = plt.subplots(1, 2, figsize=(5.6, 3.0))
for ax, degrees in zip(axes, (0, 45), strict=True):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for level in (0.5, 2, 4.5, 12.5, 32):
        line = np.sqrt(2 * level / slope)[:, None] * [np.cos(around), np.sin(around)]
        ax.plot(*(turn @ line), color="C5", linewidth=0.7)
    for name, style in ("plain descent", "C1o-"), ("Adam", "C0s-"):
        model = SimpleNamespace(params={"theta": turn @ [2.0, 2.0]}, grads={})
        optimizer = GradientDescent(model, learning_rate=1.7 / slope[1])
        if name == "Adam":
            optimizer = Adam(model, learning_rate=0.1)
        path = [model.params["theta"].copy()]
        for _ in range(45):
            model.grads["theta"] = turn @ (slope * (turn.T @ model.params["theta"]))
            optimizer.step()
            path.append(model.params["theta"].copy())
        ax.plot(*np.transpose(path), style, linewidth=1.1, markersize=2.6)
    ax.plot(0, 0, "k+", markersize=10)
    ax.set(title=f"valley at {degrees}°", aspect="equal", xlabel=r"$\theta_1$", yticks=[-2, 0, 2])
axes[0].set(ylabel=r"$\theta_2$", xlim=(-0.9, 2.6), ylim=(-2.0, 2.6), xticks=[0, 2])
axes[1].set(xlim=(-1.2, 2.9), ylim=(-1.2, 3.4), xticks=[-1, 0, 1, 2])
axes[0].text(0.6, 1.2, "Adam", color="C0", ha="center")
axes[0].text(1.5, -1.8, "plain", color="C1", ha="center")
axes[1].text(0.2, 3.0, "Adam", color="C0")
axes[1].text(1.2, -0.3, "plain", color="C1")
