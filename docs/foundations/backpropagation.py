"""The smallest case as a graph, each value with its gradient below it. The thicker an orange line,
the larger the gradient of its weight; dotted lines pass through the neuron that was off, and their
weights learn nothing from this sample.

Boxes in five columns, joined by lines. Each box holds a value and below it the gradient. x: 1 with
4.5, and 2 with −0.5. z1: −1 with 0, 2 with 1, and 0.5 with 2. h: 0 with −1.5, 2 with 1, and 0.5
with 2. z2: 7 with −0.5, and 7 with 0.5. L: 0.693 with 1. All lines at the first neuron, whose z1
is −1, are dotted. The thickest line leads from the second input to the third neuron: the gradient
of its weight is 4. The lines of the second layer are thin, with gradients of 1 and 0.25 in size.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.backpropagation import two_layer_backward, two_layer_forward

w1, b1 = np.array([[1.0, -1.0], [0.5, 0.5], [2.0, -0.5]]), np.array([0.0, 0.5, -0.5])
w2, b2 = np.array([[2.0, 1.0, -2.0], [-1.0, 3.0, 2.0]]), np.array([6.0, 0.0])
kept = two_layer_forward(np.array([[1.0, 2.0]]), np.array([0]), w1, b1, w2, b2)
d = two_layer_backward(kept)

fig, ax = plt.subplots(figsize=(5.6, 3.1))
two, three = [0.5, -0.5], [1, 0, -1]  # how high the boxes of a column stand
for column, (name, heights, values, gradients) in enumerate(
    [
        ("$x$", two, kept.x[0], d["x"][0]),
        ("$z_1$", three, kept.z1[0], d["z1"][0]),
        ("$h$", three, kept.h[0], d["h"][0]),
        ("$z_2$", two, kept.z2[0], d["z2"][0]),
        ("$L$", [0], [kept.loss], [1.0]),
    ]
):
    ax.text(column, 1.5, name, ha="center")
    for height, value, gradient in zip(heights, values, gradients, strict=True):
        ax.add_patch(plt.Rectangle((column - 0.27, height - 0.35), 0.54, 0.7, fill=False))
        for y, number, color in [(0.16, value, "black"), (-0.18, gradient, "C1")]:
            text = f"{number + 0:.3g}".replace("-", "−")  # + 0: not -0
            ax.text(column, height + y, text, color=color, ha="center", va="center")

for column, ends, starts, gradients in [(0.5, three, two, d["w1"]), (2.5, two, three, d["w2"])]:
    for (i, j), gradient in np.ndenumerate(gradients):
        style = "C1-" if gradient else "k:"
        line = [starts[j], ends[i]]
        ax.plot([column - 0.23, column + 0.23], line, style, linewidth=0.9 + abs(gradient))
for height, on in zip(three, kept.slope[0], strict=True):
    ax.plot([1.27, 1.73], [height, height], "k-" if on else "k:", linewidth=0.9)
for height in two:
    ax.plot([3.27, 3.73], [height, 0], "k-", linewidth=0.9)
ax.text(4, 0.5, "value", ha="center")
ax.text(4, -0.62, "gradient", ha="center", color="C1")
ax.set(xlim=(-0.3, 4.4), ylim=(-1.4, 1.75))
ax.axis("off")
