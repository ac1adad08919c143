"""How many connections each pixel of the digits has. Rewiring alone leaves them spread as they were
drawn, because blank pixels keep theirs; with weight decay they move from the blank sides to the
strokes.

Three maps of 8 × 8 pixels, averages over three networks with 300 connections each in the first
layer, 0 to 10 a pixel. As drawn, and after ten rewirings, the maps are evenly speckled, and the
outermost columns, a quarter of the pixels, hold about a quarter of the connections. With weight
decay these columns are dark and hold less than a tenth; the middle is bright.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

x, labels = load_digits()
drawn, rewired, decayed = np.zeros((3, 64))
for connections, decay in [(rewired, 0.0), (decayed, 0.02)]:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        network = sparse_mlp([64, 64, 10], density=0.1, rng=rng)
        first = network.layers[0]
        if connections is rewired:
            drawn += np.bincount(first.weight.indices, minlength=64) / 3
        optimizer = Momentum(network, learning_rate=0.1, weight_decay=decay)
        for _ in range(10):
            train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            rewire_network(network, optimizer, fraction=0.3, rng=rng)
        connections += np.bincount(first.weight.indices, minlength=64) / 3

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.0))
maps = {"as drawn": drawn, "rewired": rewired, "with decay": decayed}
for ax, (name, connections) in zip(axes, maps.items(), strict=True):
    image = ax.imshow(connections.reshape(8, 8), vmin=0, vmax=10)
    ax.set(title=name)
    ax.axis("off")
fig.colorbar(image, ax=axes, label="connections\nof a pixel", ticks=[0, 5, 10], aspect=12)
