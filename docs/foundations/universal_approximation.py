"""Left: eight ReLUs draw a wave as eight straight pieces, and run away behind the last knot. Right:
a smooth curve's error falls to a quarter with each doubling, a kink's to a half, a jump's not at
all. Learnt networks, in the band, fall behind the built one.

Left, one full wave from 0 to 1 and on to 1.3, dotted. A broken solid line meets it at nine knots
and is slightly flatter at the top and the bottom; from 1 on it goes straight up while the wave
bends away. Right, the largest error against 4 to 32 hidden neurons, both axes logarithmic. For the
wave, built, it falls from about 0.2 to about 0.005; for a kink from about 0.1 to about 0.014; for a
jump it stays at two thirds. A band shows the wave as three networks learned it, from best to worst.
It falls too, but from width 8 on even its lower edge lies above the built line.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.regression_loss import MeanSquaredError
from lexicon.foundations.universal_approximation import interpolating_network, largest_error
from lexicon.training.momentum import Momentum

fig, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.2))
wave = lambda x: np.sin(2 * np.pi * x)  # noqa: E731
x, knots = np.linspace(0, 1.3, 131)[:, None], np.linspace(0, 1, 9)
built = interpolating_network(knots, wave(knots))
left.plot(x, wave(x), "C1:")
left.plot(x, built.forward(x), "C0-", linewidth=1.2)
left.plot(knots, wave(knots), "C0o", markersize=4)
left.axvline(1, color="k", linewidth=0.6)
left.set(xlabel="input", xticks=[0, 1], yticks=[-1, 0, 1], ylim=(-1.2, 1.4))
left.annotate("last\nknot", (0.97, 1.3), ha="right", va="top")

widths = [4, 8, 16, 32]
for name, curve, style, place in [
    ("wave, built", wave, "C0o-", (6, 0.016)),
    ("kink", lambda x: np.abs(x - 1 / 3), "C2s--", (4.6, 0.045)),
    ("jump", lambda x: np.where(x > 1 / 3, 1.0, 0.0), "C3^:", (17, 0.8)),
]:
    errors = []
    for width in widths:
        knots = np.linspace(0, 1, width + 1)
        built = interpolating_network(knots, curve(knots))
        errors.append(largest_error(built, curve, 0.0, 1.0))
    right.loglog(widths, errors, style, markersize=4)
    right.annotate(name, place, color=style[:2])
x, learned = np.linspace(0, 1, 101)[:, None], []
for seed in range(3):
    rng = np.random.default_rng(seed)
    for width in widths:
        network = mlp([1, width, 1], rng=rng, dtype=np.float64)
        network.params["0.bias"][:] = -network.params["0.weight"][:, 0] * rng.uniform(size=width)
        loss, optimizer = MeanSquaredError(), Momentum(network, learning_rate=0.05)
        for _ in range(1000):
            loss.forward(network.forward(x), wave(x))
            network.backward(loss.backward())
            optimizer.step()
        learned.append(largest_error(network, wave, 0.0, 1.0))
learned = np.sort(np.reshape(learned, (3, 4)), axis=0)
right.fill_between(widths, learned[0], learned[-1], color="C1", alpha=0.3, linewidth=0)
right.plot(widths, learned[1], "C1x-.")
right.annotate("wave, learned", (10, 0.3), color="C1")
right.set(xlabel="hidden neurons", ylabel="largest error", xticks=widths, yticks=[0.01, 0.1, 1])
right.set(xticklabels=widths, yticklabels=[0.01, 0.1, 1], ylim=(0.003, 1.6))
right.minorticks_off()
