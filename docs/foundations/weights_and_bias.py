"""Left: the weights point straight across the boundary, and the bias moves it without turning it.
Right: sixes and sevens, each a point. Only the line with a bias gets between the two crowds.

Left, the plane of two inputs with the line of w = (3, 4) and b = −10, two units from the origin;
the arrow w leaves it at a right angle. The dashed line for b = 0 is parallel to it and runs
through the origin. A dotted way leads from the point (6, 3) back to the line, four units away.
Right, 120 images by the ink in their lower half, across, and in their left half, up: sixes to the
right, sevens to the left, and a nearly upright solid line between them. The dashed line, learned
without a bias, comes from the origin and runs up through the sevens.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.neuron import Neuron
from lexicon.foundations.weights_and_bias import boundary, nearest_point, signed_distance

fig, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.1))
along = np.array([-30.0, 30.0])
for bias, style, place in (-10.0, "-", (-2.8, 4.9)), (0.0, "--", (-2.8, -0.2)):
    u, offset, _ = boundary(np.array([3.0, 4.0]), np.array([bias]))
    line = offset * u[:, None] + along * np.array([[-u[1]], [u[0]]])  # u, turned a quarter
    left.plot(*line, "C0", linestyle=style)
    left.annotate(f"b = {bias:.0f}".replace("-", "−"), place)
x, weight, bias = np.array([[6.0, 3.0]]), np.array([3.0, 4.0]), np.array([-10.0])
(foot,) = nearest_point(x, weight, bias)
left.plot(*np.stack([foot, x[0]], axis=1), "k:")
left.plot(*x[0], "ko", markersize=4)
left.annotate(f"{signed_distance(x, weight, bias)[0]:.0f} away", (5.0, 0.9))
left.annotate("", (4.2, 5.6), (1.2, 1.6), arrowprops={"arrowstyle": "->", "color": "C1", "lw": 2})
left.annotate("w", (3.0, 5.3), color="C1")
left.plot(0, 0, "k+", markersize=9)
left.set(xlim=(-3, 8.5), ylim=(-3, 7), aspect="equal", xticks=[0, 5], yticks=[0, 5])
left.set(xlabel="input 0", ylabel="input 1", title="direction and distance")

images, labels = load_digits()
ink = np.zeros((8, 8, 2), np.float32)  # eight full pixels are 1 unit
ink[4:, :, 0] = ink[:, :4, 1] = 1 / 8  # the lower half, and the left half
six, seven = (images[labels == digit] @ ink.reshape(64, 2) for digit in (6, 7))
x, target = np.concatenate([six, seven]), np.repeat([True, False], [len(six), len(seven)])
right.plot(*six[:60].T, "C1o", markersize=3)
right.plot(*seven[:60].T, "C2^", markersize=3)
for has_bias, style, name, place in [
    (True, "-", "bias", (1.3, 0.2)),
    (False, "--", "no bias", (0.3, 0.1)),
]:
    neuron = Neuron(np.zeros(2, np.float32), np.zeros(1, np.float32))
    for _ in range(1000):
        dz = (neuron.forward(x) - target) / np.float32(len(x))
        neuron.params["weight"] -= x.T @ dz
        neuron.params["bias"] -= has_bias * dz.sum()
    u, offset, _ = boundary(*neuron.params.values())
    right.plot(*(offset * u[:, None] + along * np.array([[-u[1]], [u[0]]])), "C0", linestyle=style)
    right.annotate(name, place)
right.plot(0, 0, "k+", markersize=9)
right.annotate("6", (1.85, 1.0), color="C1", weight="bold")
right.annotate("7", (0.55, 1.4), color="C2", weight="bold")
right.set(xlim=(-0.1, 2.15), ylim=(-0.1, 1.85), xticks=[0, 1, 2], yticks=[0, 1])
right.set(xlabel="ink, lower half", ylabel="ink, left half", title="sixes and sevens")
