"""How many steps does gradient descent lose to inputs of unequal size?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.input_scaling import Standardizer, curvatures
from lexicon.training.training_loop import accuracy

UNIT = 1.0  # try 100.0: every other pixel in another unit; raw slows down, standardised does not
OFFSET = 0.0  # try 10.0: all pixels far from 0, which shifting alone mends
SHARE = 0.5  # try 1.01: a rate just past the limit; the steepest direction grows

rng = np.random.default_rng(0)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
unit = np.where(np.arange(64) % 2, 1, UNIT)
x, x_test = (OFFSET + unit * part.astype(np.float64) for part in (x, x_test))
targets = np.eye(10)[labels]
standard = Standardizer(x)

print("                           highest    loss above its minimum at step   accuracy")
print("inputs         condition      rate         1       10      100      500   at 500")
for name, given, test in [
    ("raw", x, x_test),
    ("shifted", x - standard.mean, x_test - standard.mean),
    ("standardised", standard.forward(x), standard.forward(x_test)),
]:
    steep = curvatures(given)
    extended = np.column_stack([given, np.ones(len(x))])
    best = extended @ np.linalg.lstsq(extended, targets, rcond=None)[0]
    lowest = np.sum((best - targets) ** 2)
    layer = Linear(np.zeros((10, 64)))
    optimizer = GradientDescent(layer, learning_rate=SHARE * 2 / steep[0])
    losses = []
    for _ in range(501):
        error = layer.forward(given) - targets  # the slope of half the squared error
        losses.append((np.sum(error**2) - lowest) / 2 / len(x))
        layer.backward(error / len(x))
        optimizer.step()
    row = "".join(f"{losses[step]:9.2g}" for step in (1, 10, 100, 500))
    row += f"{accuracy(layer, test, labels_test):9.3f}"
    print(f"{name:12s}{steep[0] / steep[-1]:12.4g}{2 / steep[0]:10.2g} {row}")
