"""Nine weights, laid on every place of a digit, answer where ink begins on the right; mirrored, the
same nine answer where it ends. The framed window on the left gives the framed answer in the middle.

Three pictures. Left, a handwritten 0 in eight by eight pixels, with a frame of three by three
pixels around the left side of its upper part. Middle, the map of the filter, eight by eight
numbers, shown where above zero: bright along the outer left side of the ring and along the inner
side of its right stroke; one cell, in the middle of the frame, is framed. Right, the map of the
mirrored filter: bright along the inner side of the left stroke and the outer right side.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.convolution import Convolution
from lexicon.data import load_digits
from lexicon.foundations.activation import relu

images, _ = load_digits()
x = images[:1].reshape(1, 1, 8, 8)
begins = np.array([[-1, 0, 1]] * 3, np.float32)
filters = np.stack([begins, begins[:, ::-1]])[:, None]
y, _ = relu(Convolution(filters, padding=1).forward(x))

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.2))
row, column = 3, 1
for ax, title, picture, corner, side in [
    (axes[0], "digit", x[0, 0], (column - 1, row - 1), 3),
    (axes[1], "ink begins", y[0, 0], (column, row), 1),
    (axes[2], "ink ends", y[0, 1], None, 0),
]:
    ax.imshow(picture, vmin=0, vmax=picture.max())
    ax.set(title=title, xticks=[], yticks=[])
    if corner:
        spot = (corner[0] - 0.5, corner[1] - 0.5)
        ax.add_patch(plt.Rectangle(spot, side, side, fill=False, edgecolor="C2", linewidth=2.5))
