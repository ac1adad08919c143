"""Two hidden layers, trained alike, look at ten digits. Where ReLU leaves it to chance how many
neurons speak, k-WTA lets exactly five of 64 speak for every digit.

Two grids of activations, ten digits by 64 neurons. Under ReLU at least half of the cells in a row
are lit, in some rows more than in others. Under k-WTA each row has five lit cells, and most neurons
are dark for all ten digits.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, name, activation in [
    (axes[0], "ReLU", Activation(relu)),
    (axes[1], "k-WTA, k = 5", KWinnersTakeAll(5)),
]:
    rng = np.random.default_rng(0)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    hidden = Linear(he_normal(64, 64, rng=rng))
    network = Sequential([hidden, activation, Linear(he_normal(64, 10, rng=rng))])
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    first = [np.flatnonzero(labels_test == digit)[0] for digit in range(10)]
    speaks = activation.forward(hidden.forward(x_test[first]))
    lit = np.where(speaks != 0, speaks, np.nan)
    image = ax.imshow(lit, aspect="auto", vmin=0, vmax=5)
    counts = np.unique((speaks != 0).sum(axis=1))
    spoken = " to ".join(str(count) for count in counts[[0, -1][: len(counts)]])
    ax.set(title=f"{name}\n{spoken} of 64 speak", xlabel="hidden neuron")
axes[0].set(ylabel="digit", yticks=range(10))
fig.colorbar(image, ax=axes, label="activation")
