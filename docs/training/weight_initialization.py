"""Digits enter thirty untrained ReLU layers from the left, a random gradient from the right. Of
four ways to draw the weights only He's rule lets both through; the bands span ten draws.

Two panels, the mean square of the signal and of the gradient against the depth, 0 to 30 layers; the
vertical axis is logarithmic, from 1e-15 to 1e15. The gradient travels the other way, so that the
right panel mirrors the left. Each way of drawing makes an almost straight line. With a standard
deviation of 0.5 signal and gradient grow out of the picture in less than twenty layers; with 0.01
they fall out of it in six. Glorot's rule loses nine to ten powers of ten in all. With He's they
end within a factor of twenty of where they start, in every draw.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.weight_initialization import glorot_uniform, he_normal

rng = np.random.default_rng(0)
x = load_digits()[0][:100].astype(np.float64)
fig, axes = plt.subplots(1, 2, sharex=True, sharey=True)
for name, style, place, draw in [
    ("std 0.5", "C1-.", (2, 1e12), lambda: rng.normal(0, 0.5, size=(64, 64))),
    ("He", "C0-", (24, 10), lambda: he_normal(64, 64, rng=rng, dtype=np.float64)),
    ("Glorot", "C2--", (21, 1e-6), lambda: glorot_uniform(64, 64, rng=rng, dtype=np.float64)),
    ("std 0.01", "C3:", (7, 1e-14), lambda: rng.normal(0, 0.01, size=(64, 64))),
]:
    signal, gradient = np.empty((2, 10, 31))
    for run in range(10):
        layers = [Sequential([Linear(draw()), Activation(relu)]) for _ in range(30)]
        h, dh = x, rng.standard_normal(x.shape)
        signal[run, 0], gradient[run, 30] = np.square(h).mean(), np.square(dh).mean()
        for i in range(30):
            h = layers[i].forward(h)
            signal[run, i + 1] = np.square(h).mean()
        for i in reversed(range(30)):
            dh = layers[i].backward(dh)
            gradient[run, i] = np.square(dh).mean()
    for ax, squares in zip(axes, (signal, gradient), strict=True):
        depth = np.arange(31)
        ax.semilogy(depth, np.exp(np.log(squares).mean(axis=0)), style)
        ax.fill_between(depth, squares.min(axis=0), squares.max(axis=0), color=style[:2], alpha=0.3)
    axes[0].text(*place, name, color=style[:2])
axes[0].set(title="signal →", ylabel="mean square", ylim=(1e-15, 1e15))
axes[1].set(title="← gradient")
for ax in axes:
    ax.set(xlabel="depth, in layers", xticks=[0, 10, 20, 30])
    ax.set(yticks=[1e-15, 1e-10, 1e-5, 1, 1e5, 1e10, 1e15])
