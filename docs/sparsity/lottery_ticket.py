"""Learning curves of a digit reader and of sparse parts of it; bands reach from the worst of three
seeds to the best. The ticket reads before it has learned anything, and stays ahead of the same
positions with other first values and of a shuffled mask.

Two panels, test accuracy in per cent against epochs of training, 0 to 4. With 19 % of the weights
left the ticket starts above 40, is above 90 after one epoch, ahead of the dense network, and ends
level with it near 95. Other first values and a shuffled mask start near 10, as the dense network
does, and end a few points lower. With 3.6 % left the ticket starts above 30 and ends near 93, other
first values end near 85, and the shuffled mask near 30.
"""

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.lottery_ticket import find_tickets, reinitialised, shuffled
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

read = np.zeros((2, 4, 3, 5))  # 19 and 3.6 %; who; seed; epoch


def fit(network):
    """Train; return the accuracy at the start and after each epoch."""
    curve, optimizer = [accuracy(network, *test)], Momentum(network, learning_rate=0.2)
    again = np.random.default_rng(seed)
    for epoch in train(
        network, optimizer, x, labels, epochs=4, batch_size=64, rng=again, validation=test
    ):
        curve.append(epoch.validation)
    return curve


for seed in range(3):
    rng = np.random.default_rng(seed)
    x, labels, *test = stratified_split(*load_digits(), rng=rng)
    start, fresh = mlp([64, 64, 10], rng=rng), mlp([64, 64, 10], rng=rng)
    tickets = list(find_tickets(start, fit, share=0.34, rounds=8))
    read[:, 0, seed] = fit(deepcopy(start))
    for panel, ticket in enumerate([tickets[3], tickets[7]]):
        read[panel, 2, seed] = fit(reinitialised(ticket, fresh))
        read[panel, 3, seed] = fit(shuffled(ticket, start, rng=rng))
        read[panel, 1, seed] = fit(ticket)

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, curves in zip(axes, ["19 % left", "3.6 % left"], 100 * read, strict=True):
    for curve, colour, style in zip(
        curves, ["k", "C0", "C1", "C2"], ["-", "o-", "s--", "^:"], strict=True
    ):
        ax.plot(curve.mean(axis=0), style, color=colour, markersize=4)
        ax.fill_between(range(5), curve.min(axis=0), curve.max(axis=0), color=colour, alpha=0.25)
    ax.set(title=title, xlabel="epochs", ylim=(0, 104), xticks=range(5))
axes[0].set_ylabel("test accuracy in %")
names = ["ticket (circles)", "dense (no marks)", "other values (squares)", "shuffled (triangles)"]
for i, (name, colour) in enumerate(zip(names, ["C0", "k", "C1", "C2"], strict=True)):
    axes[0].text(0.95, 50 - 14 * i, name, color=colour)
