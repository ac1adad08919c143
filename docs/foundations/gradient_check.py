"""The error of a measured gradient against the step. With a long step the formula errs, with a
short one rounding does, so each curve has a lowest point; that of both sides in float64 is by far
the lowest, and lies near the default step, 1e-5.

Relative error against the step ε, both on logarithmic scales, for the gradient of a digit's 64
pixels. In float64 (solid) the error of both sides falls from about 1e-3 at a step of 1e-12 to below
1e-10 between 1e-5 and 1e-4, and then rises steeply; that of one side turns at about 1e-7, where it
is still above 1e-8, and rises half as steeply. In float32 (dashed) both errors stay near 1, which
means that nothing is measured, up to a step of about 1e-7; the lowest is between 1e-5 and 1e-4 for
both sides, at a step of 1e-2, and nearly 1e-3 for one side, at 1e-3. A dotted line marks the
default step, 1e-5.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.training.weight_initialization import he_normal

images, labels = load_digits()
x, label = images[:1].astype(np.float64), labels[:1]
criterion = CrossEntropy()
steps = 10.0 ** np.arange(-12, 0, 0.5)


def loss():
    """Send the digit through the network; only the arithmetic has another precision."""
    return criterion.forward(network.forward(x.astype(dtype)), label)


fig, ax = plt.subplots()
for dtype, line in [(np.float64, "-"), (np.float32, "--")]:
    rng = np.random.default_rng(0)
    first = Linear(he_normal(64, 16, rng=rng, dtype=dtype))
    last = Linear(he_normal(16, 10, rng=rng, dtype=dtype))
    network = Sequential([first, Activation(tanh), last])
    here = loss()
    by_hand = network.backward(criterion.backward())
    both_sides, one_side = [], []
    for step in steps:
        both_sides.append(relative_error(by_hand, numerical_gradient(loss, x, epsilon=step)))
        measured = np.empty_like(x)
        for i in range(64):
            pixel = x[0, i]
            x[0, i] = pixel + step
            measured[0, i] = (loss() - here) / step
            x[0, i] = pixel
        one_side.append(relative_error(by_hand, measured))
    ax.loglog(steps, both_sides, "C0" + line)
    ax.loglog(steps, one_side, "C1" + line)
ax.axvline(1e-5, color="black", linestyle=":")
ax.text(6e-6, 2e-11, "default", ha="right")
ax.text(6e-4, 2e-10, "both sides", color="C0")
ax.text(1.5e-5, 1.2e-7, "one side", color="C1")
ax.text(2e-12, 1e-7, "float64")
ax.text(2e-4, 0.1, "float32")
ax.set(xlabel="step ε", ylabel="relative error", ylim=(1e-11, 10))
ax.set(xticks=[1e-12, 1e-9, 1e-6, 1e-3], yticks=[1e-10, 1e-5, 1])
