"""A batch of ten digits goes through a trained network. From each layer to the next the ten rows
remain, the columns change, and in the end the largest score of each row (framed) is the right one.

Four grids side by side, a row for each image of a 0 to a 9. The input, shape (10, 64), holds
pixels; where there is no ink the cell is empty. A linear layer makes 20 numbers of them, ReLU
empties nearly half of the cells, those below zero, and the last linear layer makes ten scores. The
framed cells, the largest of each row, run down the diagonal: a 0 gets its best score for 0, and so
on to 9. Brighter cells hold larger numbers; each grid has its own scale.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

rng = np.random.default_rng(0)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
first, last = Linear(he_normal(64, 20, rng=rng)), Linear(he_normal(20, 10, rng=rng))
network = Sequential([first, Activation(relu), last])
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)

outputs = [x_test[[np.flatnonzero(labels_test == digit)[0] for digit in range(10)]]]
for layer in network.layers:  # the whole forward pass
    outputs.append(layer.forward(outputs[-1]))

fig, axes = plt.subplots(1, 4, sharey=True, width_ratios=[5, 3, 3, 3])
names = [("input", "pixel"), ("linear", "neuron"), ("ReLU", "neuron"), ("linear", "score for")]
for ax, y, (name, column) in zip(axes, outputs, names, strict=True):
    ax.imshow(np.where(y != 0, y, np.nan), aspect="auto")
    ax.set(title=f"{name}\n{y.shape}", xlabel=column, xticks=[])
axes[0].set(ylabel="image of a", yticks=range(10))
axes[3].set(xticks=[0, 3, 6, 9])
axes[3].plot(outputs[-1].argmax(axis=1), range(10), "ks", markersize=9, markerfacecolor="none")
