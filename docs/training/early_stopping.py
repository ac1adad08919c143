"""A hundred digits, shown sixty times. With right labels the validation loss turns a little and the
accuracy stays; with 20 wrong ones both get worse, while the training loss goes on falling.

Two panels over the epochs 1 to 60. Lines are means of five runs, bands reach from the lowest to the
highest. Left, the loss: both training losses, dashed, fall towards 0. The validation loss falls
steeply at first. With right labels it is lowest, about a third, after eighteen epochs and hardly
rises. With wrong ones it turns at about 0.8 after eight and climbs above 1. Right, the accuracy
on the validation set: with right labels it rises to about 0.9 and stays; with wrong ones it rises
to about 0.76 and loses a few hundredths soon after. Dots mark where the mean validation loss is
lowest.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.early_stopping import EarlyStopping
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

digits = load_digits()
epochs = np.arange(1, 61)
fig, (left, right) = plt.subplots(1, 2)
for wrongs, color, name, places in [
    (0, "C0", "right labels", [(60, 0.1), (60, 0.93)]),
    (20, "C1", "20 wrong", [(60, 1.62), (60, 0.62)]),
]:
    runs = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        apart, answers, x, labels = stratified_split(*digits, rng=rng, test_fraction=100 / 1797)
        wrong = rng.choice(100, wrongs, replace=False)
        labels[wrong] = (labels[wrong] + rng.integers(1, 10, size=wrongs)) % 10
        network = mlp([64, 64, 10], rng=rng)
        history = train(
            network, Momentum(network, learning_rate=0.05), x, labels,
            epochs=60, batch_size=10, rng=rng, validation=(apart[:300], answers[:300]),
            stop=EarlyStopping(network, patience=60),  # keeps the best, and lets it go on
        )  # fmt: skip
        runs.append([(e.loss, e.validation_loss, e.validation) for e in history])
    curves = np.array(runs)
    training, loss, right_share = curves.mean(axis=0).T
    best = int(loss.argmin())
    left.plot(epochs, training, "--", color=color, linewidth=1)
    for ax, mean, k, place in [(left, loss, 1, places[0]), (right, right_share, 2, places[1])]:
        lowest, highest = curves[:, :, k].min(axis=0), curves[:, :, k].max(axis=0)
        ax.fill_between(epochs, lowest, highest, color=color, alpha=0.25)
        ax.plot(epochs, mean, color=color)
        ax.plot(best + 1, mean[best], "o", color=color)
        ax.text(*place, name, color=color, ha="right")
left.text(5, 1.95, "– –  training loss")
left.set(xlabel="epoch", xticks=[1, 20, 40, 60], ylabel="loss", ylim=(0, 2.2), yticks=[0, 1, 2])
right.set(xlabel="epoch", xticks=[1, 20, 40, 60])
right.set(ylabel="accuracy", ylim=(0.5, 1), yticks=[0.5, 0.75, 1])
