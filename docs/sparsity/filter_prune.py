"""All weights of a trained network after half of the filters in both layers went; empty is what
they took along. A filter is a row, its map a block of columns in the next layer, so the second
convolution loses rows and columns.

Three weight matrices drawn as pictures, magnitudes from dark to bright. First convolution, 8
filters by 9 weights: four full rows are left, four are empty. Second convolution, 16 filters by 72
weights: eight rows are empty, and in the others also four blocks of nine columns; a quarter is
left. Linear layer, 10 outputs by 256 columns: eight blocks of sixteen columns are left and eight
are empty.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.filter_prune import filter_scores, remove_filters
from lexicon.sparsity.mask import top_k
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

rng = np.random.default_rng(1)
layers = [Reshape((1, 8, 8)), Convolution(he_normal(9, 8, rng=rng).reshape(8, 1, 3, 3))]
layers += [Activation(relu), Convolution(he_normal(72, 16, rng=rng).reshape(16, 8, 3, 3))]
layers += [Activation(relu), Reshape((256,)), Linear(he_normal(256, 10, rng=rng))]
network = Sequential(layers)
train(
    network, Momentum(network, learning_rate=0.05), *load_digits(), epochs=4, batch_size=32, rng=rng
)
keep = {name: top_k(score, len(score) // 2) for name, score in filter_scores(network).items()}
small = remove_filters(network, keep)

first, second = keep.values()
rows = [first, second, np.ones(10, bool)]
columns = [np.ones(9, bool), np.repeat(first, 9), np.repeat(second, 16)]
fig, axes = plt.subplots(1, 3, width_ratios=[1, 1.5, 2])
for i, ax, name in [
    (0, axes[0], "1st convolution"),
    (1, axes[1], "2nd convolution"),
    (2, axes[2], "linear layer"),
]:
    weight = np.abs(small.params[f"{(1, 3, 6)[i]}.weight"])
    picture = np.full((len(rows[i]), len(columns[i])), np.nan)
    picture[np.ix_(rows[i], columns[i])] = weight.reshape(len(weight), -1)
    left = np.isfinite(picture).mean()
    ax.imshow(picture, aspect="auto", interpolation="nearest", vmin=0, vmax=np.nanmax(picture))
    ax.set(title=f"{name}\n{100 * left:.0f} % left", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.set(xlabel=["window", "maps of the 1st", "maps of the 2nd"][i])
    ax.set(ylabel=["filter", "filter", "output"][i])
