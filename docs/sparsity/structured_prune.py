"""The same trained networks, cut and fine-tuned. Counted in weights, single weights read better at
the small end; counted in bytes, where each single weight also needs an index, whole neurons do.

Two panels with test accuracy in per cent, mean of three seeds with a band from worst to best,
against what is left: weights in the first panel, bytes in the second. Removing neurons, four
points from 84 % with 4 neurons to about 97 % with 24. Removing single weights, five points, from
about 60 % with 80 weights to about 97 %. At 300 and 600 weights the single weights are above the
neurons, by almost ten points and by more than one. At 1,250 bytes the neurons are more than twenty
points above the single weights, at 5,000 bytes the two lie within a point.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.sparsity.structured_prune import neuron_scores, remove_neurons
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

neurons, singles, seeds = [24, 16, 8, 4], [1776, 592, 296, 148, 80], range(3)
read, costs = {}, {}
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.1)
    train(network, optimizer, x, labels, epochs=10, batch_size=64, rng=rng)
    scores, weights = neuron_scores(network)["0.weight"], magnitude_scores(network)
    ways = [
        [remove_neurons(network, {"0.weight": top_k(scores, k)}) for k in neurons],
        [prune_network(network, global_masks(weights, 1 - n / (64 * 74))) for n in singles],
    ]
    for way, networks in enumerate(ways):
        costs[way] = np.array([network_cost(pruned)[:2] for pruned in networks])
        for pruned in networks:
            optimizer, again = Momentum(pruned, learning_rate=0.1), np.random.default_rng(seed)
            train(pruned, optimizer, x, labels, epochs=3, batch_size=64, rng=again)
        read[way, seed] = [100 * accuracy(pruned, x_test, labels_test) for pruned in networks]

fig, axes = plt.subplots(1, 2, sharey=True)
for cost, ax, ticks in [(0, axes[0], [80, 300, 1200]), (1, axes[1], [1250, 5000, 15000])]:
    for way, style in enumerate(["C0o-", "C1s--"]):
        curves, left = np.array([read[way, seed] for seed in seeds]), costs[way][:, cost]
        ax.semilogx(left, curves.mean(axis=0), style, markersize=5)
        ax.fill_between(left, curves.min(axis=0), curves.max(axis=0), color=style[:2], alpha=0.3)
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel=["weights left", "bytes left"][cost])
axes[0].set(ylabel="test accuracy in %", ylim=(48, 100))
axes[0].text(360, 79, "neurons", color="C0")
axes[0].text(200, 68, "single\nweights", color="C1")
