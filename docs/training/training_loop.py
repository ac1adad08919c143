"""Fifty digits choose the best of twenty epochs. In each of ten runs the chosen network is better
on those fifty, ▲, than on the many that nobody used, ●: part of the best was luck.

Two panels share a vertical axis, accuracy from 0.8 to 1. On the left the last run over its twenty
epochs: the accuracy on the fifty digits jumps up and down in steps of 0.02, the one on the unused
digits rises more smoothly to about 0.94. Two markers stand at the epoch where the jumping curve is
highest for the first time. On the right those two markers for each run, joined by a line: the upper
ones lie between 0.92 and 0.98, the lower ones between 0.88 and 0.94. Some pairs almost touch; the
widest is about a tenth apart.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

rng = np.random.default_rng(0)
fig, (left, right) = plt.subplots(1, 2, sharey=True)
for run in range(1, 11):
    x, labels, rest, rest_labels = stratified_split(*load_digits(), rng=rng, test_fraction=0.8)
    network = mlp([64, 32, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    chooses, unused = [], []
    for _ in range(20):
        train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
        chooses.append(accuracy(network, rest[:50], rest_labels[:50]))
        unused.append(accuracy(network, rest[50:], rest_labels[50:]))
    best = int(np.argmax(chooses))
    right.plot([run, run], [chooses[best], unused[best]], "k", linewidth=0.8)
    right.plot(run, chooses[best], "C1^")
    right.plot(run, unused[best], "C0o")
left.plot(range(1, 21), chooses, "C1", linewidth=1)
left.plot(range(1, 21), unused, "C0--")
left.plot(best + 1, chooses[best], "C1^")
left.plot(best + 1, unused[best], "C0o")
left.text(20, 0.86, "on the fifty", color="C1", ha="right")
left.text(2, 0.97, "on unused digits", color="C0")
left.set(title="the last run", xlabel="epoch", xticks=[1, 10, 20])
left.set(ylabel="accuracy", ylim=(0.8, 1), yticks=[0.8, 0.9, 1])
right.set(title="the best epoch of each", xlabel="run", xticks=[1, 10])
