"""Left: a weight that the loss does not need. Along the subgradient it jumps over zero for ever, by
the proximal step it lands. Right: all weights of networks trained on the digits. Most are exactly
zero after proximal steps, so that the line starts high; by subgradient none is.

Two panels. Left: one weight against steps, from 0.53. Both methods fall in a straight line; at zero
the subgradient goes on between +0.03 and -0.07, the proximal curve stays at zero. Right: the share
of weights smaller than a size, sizes from a millionth to one on a logarithmic axis; lines are means
and bands the spread of three networks. The proximal curve starts at about seventy per cent, its
exact zeros, and stays flat; the subgradient's starts at nearly zero, rises, and joins the
other near a hundredth.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.l1_regularization import ProximalL1, SubgradientL1
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train

fig, (left, right) = plt.subplots(1, 2, width_ratios=[1, 1.3])
at = np.logspace(-6, 0.2, 60)
for method, style in [(SubgradientL1, "C1--"), (ProximalL1, "C0-")]:
    layer = Linear(np.array([[0.53]]))
    descent = StochasticGradientDescent(layer, learning_rate=0.1)
    unneeded, path = method(descent, layer, strength=1.0), [0.53]
    for _ in range(14):
        layer.forward(np.zeros((1, 1)))
        layer.backward(np.zeros((1, 1)))  # the loss does not pull at it
        unneeded.step()
        path.append(layer.params["weight"].item())
    left.plot(path, style, marker="os"[method is ProximalL1], markersize=3)

    below = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, *_ = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 64, 10], rng=rng)
        momentum = Momentum(network, learning_rate=0.05)
        optimizer = method(momentum, network, strength=0.002)
        train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
        sizes = np.concatenate([size.ravel() for size in magnitude_scores(network).values()])
        below.append(100 * (sizes < at[:, None]).mean(axis=1))
    right.semilogx(at, np.mean(below, axis=0), style)
    right.fill_between(at, np.min(below, axis=0), np.max(below, axis=0), color=style[:2], alpha=0.3)
left.axhline(0, color="black", linewidth=0.6)
left.set(xlabel="step", ylabel="weight", xticks=[0, 5, 10])
right.set(xlabel="size |w|", ylabel="smaller weights in %", ylim=(0, 102), xticks=[1e-6, 1e-3, 1])
right.minorticks_off()
right.text(1.5e-6, 76, "proximal", color="C0")
right.text(4e-4, 30, "subgradient", color="C1")
