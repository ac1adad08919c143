"""The same number of weights, spread over 256 hidden neurons or packed into a small dense network;
bands reach from the worst to the best of three seeds. Where weights are few, wide and sparse is far
behind; at 20 % density it has caught up.

Test accuracy in per cent after five epochs against the number of weights, 568 to 3,789, which are
3, 5, 10 and 20 % of the wide network. Narrow and dense: about 86, then level at 95. Wide and
sparse: about 66, 81, 93 and 94. A dotted line at 95 is the wide network with all of its weights.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

densities, weights, seeds = [0.03, 0.05, 0.1, 0.2], [0] * 4, range(3)
read = np.zeros((3, len(densities), len(seeds)))  # sparse, narrow, dense and wide
for seed in seeds:
    for i, density in enumerate(densities):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        sparse = sparse_mlp([64, 256, 10], density=density, rng=rng)
        weights[i] = sum(layer.weight.nnz for layer in sparse.layers[::2])
        networks = [sparse, mlp([64, round(weights[i] / (64 + 10)), 10], rng=rng)]
        if i == 0:
            networks += [mlp([64, 256, 10], rng=rng)]
        for j, network in enumerate(networks):
            optimizer = Momentum(network, learning_rate=0.1)
            train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
            read[j, i, seed] = 100 * accuracy(network, x_test, labels_test)

fig, ax = plt.subplots()
ax.axhline(read[2, 0].mean(), color="k", linestyle=":", label="dense and wide")
for curve, style, name in [
    (read[1], "C1s--", "dense and narrow"),
    (read[0], "C0o-", "sparse and wide"),
]:
    ax.semilogx(densities, curve.mean(axis=1), style, markersize=4, label=name)
    ax.fill_between(densities, curve.min(axis=1), curve.max(axis=1), color=style[:2], alpha=0.3)
ax.legend(loc="lower right")
ax.set(
    xlabel="weights, and density of the wide network", ylabel="test accuracy in %", ylim=(60, 100)
)
ticks = [
    f"{count:,d}\n{100 * share:.0f} %" for count, share in zip(weights, densities, strict=True)
]
ax.set_xticks(densities, ticks)
ax.minorticks_off()
