"""Rewiring more often tries more positions, as many as the formula says. Accuracy rises with them
at first; but rewired after every step, a network tries most of all and reads no better than a
static one.

Two panels for networks of 3 % density that take 240 steps. Left, the share of positions tried
against steps: rewired every 80, 20, 5 steps and every step it ends near 0.05, 0.12, 0.34 and 0.81;
dashed lines, the formula, run along. Right, accuracy on the test set against the share tried at the
end, logarithmic, with bars from the worst to the best of three seeds: about half without rewiring,
near 70 % at every 20 steps, then down again to under a half at every step.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.in_time_overparameterization import Explored, expected_rate
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy

fig, (left, right) = plt.subplots(1, 2)
intervals, seeds = [240, 80, 20, 5, 1], range(3)
tried, read = np.zeros((2, len(intervals), len(seeds)))
for i, interval in enumerate(intervals):
    for seed in seeds:
        rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        network = sparse_mlp([64, 128, 10], density=0.03, rng=rng)
        optimizer, criterion = Momentum(network, learning_rate=0.1), CrossEntropy()
        explored, curve = Explored(network), []
        batches = [batch for _ in range(6) for batch in minibatches(len(x), 32, rng=rng)]
        for step, batch in enumerate(batches):
            if step % interval == 0:
                explored.update()
                curve.append((step, explored.rate))
                if step:
                    rewire_network(network, optimizer, fraction=0.3, rng=draws)
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            optimizer.step()
        explored.update()
        tried[i, seed], read[i, seed] = explored.rate, accuracy(network, x_test, labels_test)
    if interval < 240:
        steps, share = np.transpose([*curve, (240, explored.rate)])
        left.plot(steps, share, f"C{i - 1}")
        formula = np.zeros(len(steps))
        for layer, size in zip(network.layers[::2], [64 * 128, 128 * 10], strict=True):
            for t in range(len(steps)):
                rate = expected_rate(size, layer.weight.nnz, fraction=0.3, rewirings=max(t - 1, 0))
                formula[t] += rate * size / (64 * 128 + 128 * 10)
        left.plot(steps, formula, "k--", linewidth=0.8)
        left.text(246, share[-1], str(interval), color=f"C{i - 1}", va="center")
left.set(xlabel="steps", ylabel="share of positions tried", xlim=(0, 290), ylim=(0, 1))
left.set(title="steps between rewirings", xticks=[0, 80, 160, 240])
mean = read.mean(axis=1)
bars = 100 * np.array([mean - read.min(axis=1), read.max(axis=1) - mean])
right.errorbar(tried.mean(axis=1), 100 * mean, bars, fmt="ko-", markersize=4, linewidth=0.8)
for i, (name, dx, dy) in enumerate(
    [("static", 0.87, -8.0), ("80", 0.68, 1.5), ("20", 1.06, 2.5), ("5", 1.06, 2.5), ("1", 1, 2.5)]
):
    place = tried[i].mean() * dx, 100 * mean[i] + dy
    right.text(*place, name, color=f"C{i - 1}" if i else "k")
right.set(xscale="log", xlabel="share of positions tried", title="test accuracy in %")
right.set(xlim=(0.022, 1.3), ylim=(30, 85), yticks=[40, 60, 80])
right.set_xticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
right.minorticks_off()
