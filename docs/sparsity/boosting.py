"""How often each hidden neuron wins, from the busiest to the idlest; bands reach over three runs.
Left alone, a minority wins nearly everything and the rest nothing; with an added boost all 64 win
some digits.

A plot of the share of training digits won, in per cent, against the neurons in order of their wins,
1 to 64. Without a boost the curve falls steeply from more than half and is at zero from about the
25th neuron on. With a factor it starts below a fifth and reaches zero in the last dozen. With an
added boost it starts lower still, crosses the dotted line of equal shares, at about eight per cent,
beyond the middle, and ends above zero.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.boosting import BoostedKWinners, additive_boost, multiplicative_boost
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

fig, ax = plt.subplots()
neurons = np.arange(1, 65)
for boost, strength, style, name, place in [
    (multiplicative_boost, 0.0, "C0-", "no boost", (5, 56)),
    (multiplicative_boost, 20.0, "C1--", "factor, γ = 20", (18, 16)),
    (additive_boost, 50.0, "C2-.", "added, γ = 50", (45, 10)),
]:
    won = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, _, _ = stratified_split(*load_digits(), rng=rng)
        hidden = Linear(he_normal(64, 64, rng=rng))
        winners = BoostedKWinners(64, 5, strength=strength, boost=boost)
        network = Sequential([hidden, winners, Linear(he_normal(64, 10, rng=rng))])
        optimizer = Momentum(network, learning_rate=0.05)
        train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
        wins = (winners.forward(hidden.forward(x)) != 0).mean(axis=0)
        won.append(100 * np.sort(wins)[::-1])
    ax.plot(neurons, np.mean(won, axis=0), style)
    ax.fill_between(neurons, np.min(won, axis=0), np.max(won, axis=0), color=style[:2], alpha=0.3)
    ax.text(*place, name, color=style[:2])
ax.axhline(100 * 5 / 64, color="black", linestyle=":", linewidth=1)
ax.set(xlabel="hidden neurons, busiest first", ylabel="digits won in %", xlim=(1, 64), ylim=(0, 75))
ax.set_xticks([1, 16, 32, 48, 64])
