"""Does every neuron get to win when those that rarely do are favoured?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.boosting import BoostedKWinners, additive_boost, effective_neurons
from lexicon.sparsity.boosting import multiplicative_boost as factor
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

ADDED = 50.0  # try 2.0, 2000.0: too weak, and so strong that the digit no longer matters
PERIOD = 1000  # try 100: a short memory is noise, and "on" now reads worse than "off"
FADE = False  # try True: where the boost fades out, "on" and "off" end up the same
SEED = 0  # try 1: other neurons, the same story

print("5 of 64 win   with the boost on                switched off for testing")
print(f"{'boost':12s}" + 2 * "  never win  effective  accuracy")
for name, boost, strength in [
    ("none", factor, 0.0),
    ("factor, 20", factor, 20.0),
    (f"added, {ADDED:.0f}", additive_boost, ADDED),
]:
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    hidden = Linear(he_normal(64, 64, rng=rng))
    winners = BoostedKWinners(64, 5, strength=strength, boost=boost, period=PERIOD)
    network = Sequential([hidden, winners, Linear(he_normal(64, 10, rng=rng))])
    optimizer = Momentum(network, learning_rate=0.05)
    for epoch in range(1, 11):
        train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
        if FADE:
            winners.strength = strength * (1 - epoch / 10)

    row = f"{name:12s}"
    for switched in (winners.strength, 0.0):
        winners.strength = switched
        wins = (winners.forward(hidden.forward(x)) != 0).sum(axis=0)
        row += f"  {(wins == 0).sum():9d}  {effective_neurons(wins):9.1f}"
        row += f"  {accuracy(network, x_test, labels_test):8.3f}"
    print(row)
