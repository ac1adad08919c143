"""Features found in handwritten digits, at most four to a sample: the twelve that speak most often.
Nobody asked for them, yet some look like a ring or a curved stroke; others have no name.

Two rows of six pictures of 8 by 8 numbers, each a column of the decoder. Light cells are ink that
the feature adds, dark cells ink that it takes away. One is a dark middle in a lighter ring, others
are curved strokes, some are patches of both signs without an obvious name. Under each stands the
share of digits for which it speaks, from about one in eight to about one in five.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.sparsity.sparse_autoencoder import SparseAutoencoder, train_autoencoder
from lexicon.training.momentum import Momentum

rng = np.random.default_rng(0)
x, _ = load_digits()
autoencoder = SparseAutoencoder(64, 64, 4, rng=rng)
optimizer = Momentum(autoencoder, learning_rate=0.05)
train_autoencoder(autoencoder, optimizer, x, epochs=30, batch_size=50, rng=rng, revive=True)
autoencoder.forward(x)
share = (autoencoder.code > 0).mean(axis=0)

fig, axes = plt.subplots(2, 6)
for ax, feature in zip(axes.flat, np.argsort(-share, kind="stable"), strict=False):
    ax.imshow(autoencoder.features[feature].reshape(8, 8), vmin=-0.4, vmax=0.4)
    ax.set(xticks=[], yticks=[], xlabel=f"{share[feature]:.0%}")
