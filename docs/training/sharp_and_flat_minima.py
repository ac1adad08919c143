"""Left: gradient descent on all samples gets sharper; past 2/η, dashed, it settles just above.
Right: on each of four draws SAM ends in a flatter place, mostly by about a third.

Left, sharpness against 480 steps for three learning rates, all from 1.15 on. At η = 2 it stays
there, between 1.1 and 1.4, just above a dashed line at 2/η = 1. At η = 1 it rises for more than
200 steps, overshoots a dashed line at 2 and settles a little above it. At η = 0.5, dotted, it rises
more slowly, is above both lines at the end, and has not reached its own, 4. Right, four pairs of
dots joined by falling lines: without SAM at 1.7 to 2.1, with SAM at 1.2 to 1.6.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.regression_loss import MeanSquaredError
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.sharp_and_flat_minima import SharpnessAwareMinimization, sharpness
from lexicon.training.stochastic_gradient_descent import minibatches

fig, (left, right) = plt.subplots(1, 2, width_ratios=[3, 2])
digits, labels = load_digits()
x, targets = digits[:200].astype(np.float64), np.eye(10)[labels[:200]]
for rate, style in (2.0, "C1-"), (1.0, "C0-"), (0.5, "C2:"):
    rng = np.random.default_rng(0)
    network = mlp([64, 32, 10], rng=rng, activation=tanh, dtype=np.float64)
    for theta in network.params.values():
        theta *= 0.3
    optimizer, criterion = GradientDescent(network, learning_rate=rate), MeanSquaredError()
    curve = []
    for step in range(481):
        if step % 30 == 0:
            curve.append(sharpness(network, criterion, x, targets, rng=rng, tolerance=0.02))
        criterion.forward(network.forward(x), targets)
        network.backward(criterion.backward())
        optimizer.step()
    left.plot(np.arange(0, 481, 30), curve, style)
    if rate >= 1:
        left.axhline(2 / rate, color=style[:2], linestyle="--", linewidth=0.8)
left.set(xlabel="step", xticks=[0, 240, 480], ylabel="sharpness", ylim=(0, 3), yticks=[0, 1, 2, 3])
left.text(480, 0.7, "η = 2", color="C1", ha="right")
left.text(480, 1.7, "η = 1", color="C0", ha="right")
left.text(480, 2.65, "η = 0.5", color="C2", ha="right")

for seed in range(4):
    ends = []
    for flat in (False, True):
        rng = np.random.default_rng(seed)
        _, _, x, known = stratified_split(digits, labels, rng=rng, test_fraction=1 / 6)
        network = mlp([64, 32, 10], rng=rng, activation=tanh)
        optimizer, criterion = GradientDescent(network, learning_rate=0.1), CrossEntropy()
        sam = SharpnessAwareMinimization(network, optimizer, rho=0.2)
        for batch in [b for _ in range(15) for b in minibatches(len(x), 10, rng=rng)]:
            criterion.forward(network.forward(x[batch]), known[batch])
            network.backward(criterion.backward())
            if flat:
                sam.climb()
                criterion.forward(network.forward(x[batch]), known[batch])
                network.backward(criterion.backward())
            (sam if flat else optimizer).step()
        ends.append(sharpness(network, criterion, x, known, rng=rng, tolerance=0.02))
    right.plot([0, 1], ends, "ko-", linewidth=0.8, markersize=4)
right.set(xlim=(-0.4, 1.4), xticks=[0, 1], xticklabels=["without", "with SAM"])
right.set(ylim=(0, 3), yticks=[0, 1, 2, 3])
