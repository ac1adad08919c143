"""Left: the price of a residual under each loss; only the squared price grows ever steeper. Right:
ten points, one far off. The line of the squared loss leaves the nine others to meet it.

Left, prices against residuals from −4 to 4. The squared one is a parabola that leaves the picture
at a residual of about 2.6; the absolute one is a V; Huber's with delta 1 is round at the bottom,
half as high as the parabola there, and straight beyond 1, half a unit below the V. Right, nine
points lie near a rising line, and a tenth, the last but one, lies far below. The solid line of the
squared loss rises less than half as steeply as the nine points. The dashed line of the absolute
loss goes through the nine points; Huber's, dotted, is only a little flatter.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.regression_loss import Huber, MeanAbsoluteError, MeanSquaredError

fig, (left, right) = plt.subplots(1, 2)
x = np.linspace(-1, 1, 10)[:, None]
y = 2 + 2 * x + 0.15 * np.random.default_rng(0).standard_normal((10, 1))
y[8] = -3
right.plot(x, y, "ko", markersize=4)
residuals = np.linspace(-4, 4, 81)
for loss, name, style, place in [
    (MeanSquaredError(), "squared", "C1-", (-0.9, 6.2)),
    (MeanAbsoluteError(), "absolute", "C0--", (-4.8, 4.5)),
    (Huber(1.0), "Huber", "C2:", (2.2, 0.6)),
]:
    price = [loss.forward(np.array([r]), np.zeros(1)) for r in residuals]
    left.plot(residuals, price, style)
    left.annotate(name, place, color=style[:2])
    line = Linear(np.zeros((1, 1)))
    for step in range(2000):
        loss.forward(line.forward(x), y)
        line.backward(loss.backward())
        for theta, gradient in zip(line.params.values(), line.grads.values(), strict=True):
            theta -= 0.3 / (1 + step / 100) * gradient
    right.plot(x, line.forward(x), style)
left.set(xlim=(-4.9, 4.9), ylim=(-0.2, 7), xticks=[-4, 0, 4], yticks=[0, 5])
left.set(xlabel="residual", ylabel="price")
right.annotate("outlier", (0.68, -2.9), ha="right")
right.set(xticks=[], yticks=[], xlabel="input", ylabel="target")
