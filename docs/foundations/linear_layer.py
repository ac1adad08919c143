"""The ten rows of W after training, each laid out as an image. Bright pixels speak for the digit,
dark ones against it: for a 0, ink in a ring, and none in the middle.

Ten grids of 8 by 8 weights, one for each digit, all on one colour scale from about −1.5, dark, to
about 1.5, bright. The row for 0 has a dark middle in a broken, brighter ring. The others are
patchier: bright and dark pixels often lie side by side. The leftmost column, where hardly any image
has ink, is 0 or very near it in all ten.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.linear_layer import Linear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rng = np.random.default_rng(0)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
layer = Linear(np.zeros((10, 64), np.float32))  # ten outputs, one for each digit
train(layer, Momentum(layer, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)

fig, axes = plt.subplots(2, 5, figsize=(5.6, 2.6))
for digit, (ax, row) in enumerate(zip(axes.flat, layer.params["weight"], strict=True)):
    image = ax.imshow(row.reshape(8, 8), vmin=-1.5, vmax=1.5)
    ax.set(title=digit)
    ax.axis("off")
fig.colorbar(image, ax=axes, label="weight", ticks=[-1, 0, 1], extend="both")
