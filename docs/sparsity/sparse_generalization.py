"""Reading new digits after 100 samples, beside more and more inputs that mean nothing; bands reach
from the worst of three seeds to the best. Both sparse networks lack 95 % of the connections: not
how many there are helps, but which.

Test accuracy in per cent against 0, 64 and 256 useless inputs, three lines. Without useless inputs
dense is best, near 88, then pruned, near 82, and random, below 50. With 256 the order of the first
two has turned: pruned falls to about 66, dense to about 57; random ends below 40.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_generalization import generalization, with_noise_features
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

counts, names = [0, 64, 256], ["sparse\nby pruning", "dense", "sparse\nat random"]
read = np.zeros((3, 3, 3))  # which network, how many useless inputs, seed
for seed in range(3):
    for i, useless in enumerate(counts):
        rng = np.random.default_rng(seed)
        images, labels = load_digits()
        images = with_noise_features(images, useless, rng=rng)
        x, y, *test = stratified_split(images, labels, rng=rng)
        seen, sizes = (x[:100], y[:100]), [64 + useless, 64, 10]
        dense, random = mlp(sizes, rng=rng), sparse_mlp(sizes, density=0.05, rng=rng)
        train(dense, Momentum(dense, learning_rate=0.1), *seen, epochs=40, batch_size=25, rng=rng)
        pruned = prune_network(dense, global_masks(magnitude_scores(dense), 0.95))
        for network, epochs in [(pruned, 10), (dense, 10), (random, 50)]:
            optimizer = Momentum(network, learning_rate=0.1)
            train(network, optimizer, *seen, epochs=epochs, batch_size=25, rng=rng)
        for j, network in enumerate([pruned, dense, random]):
            read[j, i, seed] = 100 * generalization(network, seen, test).test

fig, ax = plt.subplots()
for curve, name, colour, style in zip(
    read, names, ["C0", "k", "C1"], ["o-", "^:", "s--"], strict=True
):
    ax.plot(curve.mean(axis=1), style, color=colour)
    ax.fill_between(range(3), curve.min(axis=1), curve.max(axis=1), color=colour, alpha=0.25)
    ax.text(2.08, curve[2].mean() + (4 if colour == "C0" else -1), name, color=colour, va="center")
ax.set(xlim=(-0.1, 2.8), ylim=(0, 100), xlabel="useless inputs beside 64 pixels")
ax.set(xticks=range(3), ylabel="test accuracy in %")
ax.set_xticks(range(3), counts)
