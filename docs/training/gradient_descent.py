"""Twelve steps in one valley at three rates, as shares of the limit. The first crawls, the second
crosses the valley at each step and arrives, the third leaves it.

Three panels with the same elliptic contour lines, four times steeper upwards than sideways, and a
path from the same place. At a tenth of the limit the points drift in a smooth curve and stop about
halfway. At 0.8 of the limit they jump from wall to wall, keeping six tenths of the distance at each
step, and end in the minimum. At 1.04 times the limit the jumps across grow with each step, while
sideways the path is already at its goal.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.training.gradient_descent import descend

curvature = np.array([1.0, 4.0])  # sideways, and upwards: the limit is 2 / 4
start = np.array([4.0, 1.0])
turn = np.linspace(0, 2 * np.pi, 81)
fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.7), sharey=True)
for ax, rate, name in zip(axes, (0.05, 0.4, 0.52), ("too short", "best", "too long"), strict=True):
    path = descend(lambda theta: curvature * theta, start, learning_rate=rate, steps=12)
    for level in (1, 2, 3, 4, 5):
        equal = level / curvature**0.5
        ax.plot(equal[0] * np.cos(turn), equal[1] * np.sin(turn), color="C5", linewidth=0.7)
    ax.plot(*path.T, "o-", color="C1", linewidth=1, markersize=3)
    ax.plot(0, 0, "k+", markersize=10)
    ax.set_title(f"{name}:\n{rate / 0.5:.3g} of the limit")
    ax.set(xlim=(-1.7, 4.6), ylim=(-2.9, 2.9), xticks=[0, 4], xlabel="flat direction")
    ax.spines[:].set_visible(False)
axes[0].set(ylabel="steep direction", yticks=[-2, 0, 2])
