"""What each mode carries through a chain of 12, 8, 4 and 1 numbers, one number a cell. Forward
mode drags a row for each of the 12 inputs from step to step; reverse mode carries a single row.

Two rows of grids, brighter where a number is larger in size, each grid on its own scale. Above,
forward mode: grids of 12 rows, which are 12, 8, 4 and 1 cells wide, joined by arrows that point
right. The last one, a column of 12, is the gradient. Below, reverse mode: single rows of 12, 8, 4
and 1 cells, joined by arrows that point left. The row of 12 at the left holds the same 12 numbers
as that column. Forward mode took 1,740 multiplications, reverse mode 145.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.activation import sigmoid
from lexicon.foundations.chain_rule import Affine, Elementwise, jvp, vjp

rng = np.random.default_rng(5)
x, steps = rng.standard_normal(12), []
for n_in, n_out in (12, 8), (8, 4), (4, 1):
    steps += [Affine(rng.standard_normal((n_out, n_in))), Elementwise(sigmoid)]
points, forward, reverse = [x], [np.eye(12)], [np.eye(1)]
for step in steps:
    forward.append(step.push(points[-1], forward[-1]))
    points.append(step.value(points[-1]))
for step, point in zip(reversed(steps), reversed(points[:-1]), strict=True):
    reverse.insert(0, step.pull(point, reverse[0]))

fig, axes = plt.subplots(
    2, 4, figsize=(5.6, 3.3), width_ratios=[12, 8, 4, 1], height_ratios=[12, 1]
)
for row, carried, arrow in (axes[0], forward, "→"), (axes[1], reverse, "←"):
    for i, (ax, numbers) in enumerate(zip(row, carried[::2], strict=True)):
        ax.imshow(np.abs(numbers), vmin=0)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
        if i:
            ax.set_ylabel(arrow, rotation=0, fontsize=14, va="center", labelpad=9)
products = jvp(steps, x, np.eye(12)).products, vjp(steps, x, np.eye(1)).products
axes[0, 0].set_title(f"forward: {products[0]:,} multiplications", loc="left")
axes[1, 0].set_title(f"reverse: {products[1]:,} multiplications", loc="left")
for ax, name in zip(axes[1], ["12 inputs", "8", "4", "1"], strict=True):
    ax.set_xlabel(name)
