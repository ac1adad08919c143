"""Networks at 90 % sparsity, trained with weight decay, meet 64 pixels and 64 inputs of pure noise.
Pruning a trained network leaves the noise almost alone; rewiring has only begun to, and a random
draw cannot.

Three pairs of pictures: 8 by 8 pixels above, 8 by 8 noise inputs below, coloured by the number of
connections, the mean of three seeds. Pruned: many connections at the middle columns of the pixels,
almost none at their left and right edge, about one at each noise input. Random: pixels and noise
look alike. Rewired: nearly alike, the pixels slightly ahead.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_interpretability import input_degrees
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

degrees = np.zeros((3, 128))
for seed in range(3):
    rng = np.random.default_rng(seed)
    pixels, labels, _, _ = stratified_split(*load_digits(), rng=rng)
    x = np.hstack([pixels, rng.random(pixels.shape, dtype=np.float32)])
    dense = mlp([128, 64, 10], rng=rng)
    optimizer = Momentum(dense, learning_rate=0.05, weight_decay=0.01)
    train(dense, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    pruned = prune_network(dense, layer_masks(magnitude_scores(dense), 0.9))
    network = sparse_mlp([128, 64, 10], density=0.1, rng=rng)
    degrees[:2] += [input_degrees(pruned.layers[0]), input_degrees(network.layers[0])]
    optimizer = Momentum(network, learning_rate=0.05, weight_decay=0.01)
    for _ in range(10):
        rewire_network(network, optimizer, fraction=0.3, rng=rng)
        train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
    degrees[2] += input_degrees(network.layers[0])

fig, axes = plt.subplots(2, 3, sharex=True, sharey=True)
for column, name in enumerate(["pruned", "random", "rewired"]):
    for row in range(2):
        picture = degrees[column, 64 * row : 64 * (row + 1)].reshape(8, 8) / 3
        image = axes[row, column].imshow(picture, vmin=0, vmax=degrees.max() / 3)
        axes[row, column].set(xticks=[], yticks=[])
    share = degrees[column, :64].sum() / degrees[column].sum()
    axes[0, column].set(title=f"{name}\n{share:.0%} at pixels")
axes[0, 0].set(ylabel="64 pixels")
axes[1, 0].set(ylabel="64 noise")
fig.colorbar(image, ax=axes, label="connections")
