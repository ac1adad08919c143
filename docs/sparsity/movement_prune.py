"""One network's weights before and after it was fine-tuned for turned digits. Magnitude keeps what
is large afterwards, wherever it came from; movement keeps what grew, and lets large weights go that
shrank or stood still.

Two scatter plots of the same quarter of the first layer's weights, the value before across, the
value after three epochs up, with the tenth that is kept drawn as squares. By magnitude they fill
two bands, above and below a wide gap around zero. By movement they lie in two wedges above and
below the dashed diagonals, on which a weight is as large as before: among them many of moderate
size that were close to zero, and none of the large ones that shrank.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.movement_prune import MovementLinear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rng = np.random.default_rng(0)
x, labels = load_digits()
old = mlp([64, 64, 10], rng=rng)
train(old, Momentum(old, learning_rate=0.1), x, labels, epochs=10, batch_size=64, rng=rng)
first, last = MovementLinear(old.layers[0]), MovementLinear(old.layers[2])
network = Sequential([first, Activation(relu), last])
turned = np.rot90(x.reshape(-1, 8, 8), 1, (1, 2)).reshape(-1, 64)
optimizer = Momentum(network, learning_rate=0.1)
train(network, optimizer, turned, labels, epochs=3, batch_size=64, rng=rng)
first.sparsity = 0.9

before, after = old.layers[0].params["weight"], first.params["weight"]
drawn = rng.random(after.shape) < 0.25
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, title, mask in [
    (axes[0], "kept by magnitude", magnitude_mask(after, 0.9)),
    (axes[1], "kept by movement", first.mask),
]:
    for chosen, style, size in [(drawn & ~mask, "C1.", 2), (drawn & mask, "C0s", 3)]:
        ax.plot(before[chosen], after[chosen], style, markersize=size, rasterized=True)
    for slope in (1, -1):
        ax.plot([-0.9, 0.9], [-0.9 * slope, 0.9 * slope], "k--", linewidth=0.8)
    ax.set(title=title, xlabel="weight before", xlim=(-0.9, 0.9), ylim=(-1.05, 1.05))
    ax.set(xticks=[-0.5, 0, 0.5], yticks=[-1, 0, 1])
axes[0].set_ylabel("weight after")
