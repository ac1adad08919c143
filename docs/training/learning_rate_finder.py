"""Above, one sweep: dots are batches, the line is their smoothed loss. Below, what each rate is
worth to a training that keeps it. The sweep's lowest loss lies where such a training breaks down.

Two panels over one logarithmic axis of the learning rate, from a hundred-thousandth to one. Above,
scattered batch losses start near 2.4, fall slowly, then faster, and scatter widely from about 0.05
on. Their smoothed line follows with a delay: it falls fastest near 0.04, is lowest near 0.2, and
shoots up. Below, the accuracy after three epochs at a constant rate, as mean and range of three
seeds: about a tenth at 0.0001, between three quarters and nine tenths at 0.01 and 0.03, a little
less at 0.1, and back to a tenth or little more at 0.3.
"""

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.learning_rate_finder import sweep_rates
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

kept = np.array([1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3])
fig, (above, below) = plt.subplots(2, 1, figsize=(5.6, 4.2), sharex=True)
reached = []
for seed in (12, 11, 10):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 32, 32, 32, 32, 10], rng=rng)
    reached.append([])
    for rate in kept:
        trained = deepcopy(network)
        optimizer = Momentum(trained, learning_rate=rate)
        train(trained, optimizer, x, labels, epochs=3, batch_size=32, rng=rng)
        reached[-1].append(accuracy(trained, x_test, labels_test))
rng = np.random.default_rng(10)
sweep = sweep_rates(
    network, lambda copy: Momentum(copy, learning_rate=1.0), x, labels, batch_size=32, rng=rng
)
above.plot(sweep.rates, sweep.raw, ".", color="C5", markersize=3)
above.plot(sweep.rates, sweep.losses, color="C0")
for rate, name, colour, side in (
    (sweep.suggestion, "falls fastest ", "C2", "right"),
    (sweep.minimum, " is lowest", "C1", "left"),
):
    loss = sweep.losses[list(sweep.rates).index(rate)]
    above.plot(rate, loss, "D", color=colour)
    for ax in (above, below):
        ax.axvline(rate, color=colour, linewidth=1, linestyle="--" if side == "right" else ":")
    above.text(rate, 0.15, name, color=colour, ha=side)
above.set(xscale="log", ylabel="loss in the sweep", ylim=(0, 4), yticks=[0, 2, 4])
below.plot(kept, np.mean(reached, axis=0), color="C0")
below.fill_between(kept, np.min(reached, axis=0), np.max(reached, axis=0), alpha=0.3)
below.set(ylabel="accuracy, kept", ylim=(0, 1.05), yticks=[0, 0.5, 1])
below.set(xlabel="learning rate", xlim=(1e-5, 1.2), xticks=[1e-4, 0.01, 1])
below.set(xticklabels=["0.0001", "0.01", "1"])
below.minorticks_off()
