"""Forty steps in a valley a hundred times steeper across than along, each method with its own best
settings. Plain descent spends them on bouncing between the walls.

Three paths over the same narrow elliptic valley, from ten units along it and 0.3 across. Plain
descent zigzags in a narrow band and is not much more than half way to the minimum when it stops.
Heavy ball swings more than three times as far across at first, but strides along the valley and
ends at the minimum. Nesterov's swings fade soonest, and a few hundredths of the way are left.
"""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np

from lexicon.training.momentum import Momentum

curvature = np.array([1.0, 100.0])  # along the valley, and across it
turn = np.linspace(0, 2 * np.pi, 61)
fig, axes = plt.subplots(3, 1, figsize=(5.6, 3.9), sharex=True, sharey=True)
for ax, name, learning_rate, beta, nesterov in [
    (axes[0], "plain descent", 2 / 101, 0.0, False),
    (axes[1], "heavy ball", 4 / 121, 81 / 121, False),
    (axes[2], "Nesterov", 4 / 301, (301**0.5 - 2) / (301**0.5 + 2), True),
]:
    valley = SimpleNamespace(params={"theta": np.array([10.0, 0.3])}, grads={})
    optimizer = Momentum(valley, learning_rate=learning_rate, beta=beta, nesterov=nesterov)
    path = [valley.params["theta"].copy()]
    for _ in range(40):
        valley.grads["theta"] = curvature * valley.params["theta"]
        optimizer.step()
        path.append(valley.params["theta"].copy())
    for level in (2.5, 5, 7.5, 10):
        equal = level / curvature**0.5
        ax.plot(equal[0] * np.cos(turn), equal[1] * np.sin(turn), color="C5", linewidth=0.7)
    ax.plot(*np.transpose(path), "o-", color="C1", linewidth=0.9, markersize=2.2)
    ax.plot(0, 0, "k+", markersize=9)
    left = np.linalg.norm(path[-1]) / np.linalg.norm(path[0])
    ax.set_title(f"{name}: {100 * left:.2g} % of the way left", pad=2)
    ax.set(aspect="equal", xlim=(-1.5, 10.6), ylim=(-1.25, 1.25), xticks=[0, 5, 10], yticks=[-1, 1])
    ax.spines[:].set_visible(False)
axes[1].set(ylabel="across")
axes[2].set(xlabel="along")
