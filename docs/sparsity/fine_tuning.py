"""At 95 % pruned, larger steps heal more than small ones, and the survivors do move: far from where
the unpruned twin's weights stay. Bands reach from the worst to the best of three networks.

Two panels. Left, test accuracy over five epochs of retraining, all from about 60 per cent: with
small steps it rises to about 89, with the larger ones of a rewound learning rate it climbs faster
to about 91. A line at about 97 marks the dense network. Right, the surviving weights of one network
after against before: the unpruned twin's lie on the diagonal, those of the pruned network scatter
around it, mostly farther from zero than before.
"""

from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.fine_tuning import constant_rate, earlier_values, rewound_rate
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

rates = [0.1] * 7 + [0.01] * 3
small = constant_rate(rates.__getitem__, trained=10)
again = rewound_rate(rates.__getitem__, trained=10, epochs=5)
read, whole = np.zeros((2, 3, 6)), []
for seed in range(3):
    rng = np.random.default_rng(seed)
    x, labels, *test = stratified_split(*load_digits(), rng=rng)
    dense = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(dense, learning_rate=0.1)
    for optimizer.learning_rate in rates:
        train(dense, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
    whole.append(accuracy(dense, *test))
    pruned = prune_network(dense, global_masks(magnitude_scores(dense), 0.95))
    after = []
    for body, rate in [(pruned, small), (pruned, again), (dense, again)]:
        network, curve = deepcopy(body), [accuracy(body, *test)]
        optimizer = Momentum(network, learning_rate=0.1)
        for epoch in range(5):
            optimizer.learning_rate = rate(epoch)
            train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            curve.append(accuracy(network, *test))
        if body is pruned:
            read[len(after), seed] = curve
        after.append(network)

fig, (left, right) = plt.subplots(1, 2)
for curves, style, name in [(read[1], "C1-", "rewound rate"), (read[0], "C0--", "small steps")]:
    left.plot(100 * curves.mean(axis=0), style, label=name)
    lowest, highest = 100 * curves.min(axis=0), 100 * curves.max(axis=0)
    left.fill_between(range(6), lowest, highest, color=style[:2], alpha=0.3)
left.axhline(100 * np.mean(whole), color="black", linewidth=1)
left.text(5, 97, "dense", ha="right", va="bottom")
left.legend(loc="lower right", frameon=False)
left.set(xlabel="epochs after pruning", ylabel="test accuracy in %", ylim=(50, 103))

before = earlier_values(pruned, dense)["0.weight"]
twin = earlier_values(pruned, after[2])["0.weight"]
right.axline((0, 0), slope=1, color="black", linewidth=0.6)
right.plot(before[::2], after[1].params["0.weight"][::2], "C1o", markersize=3, alpha=0.7)
right.plot(before[::2], twin[::2], "C2x", markersize=3)
right.text(-0.9, 1.3, "pruned", color="C1")
right.text(0.2, -0.3, "not pruned", color="C2")
right.set(xlabel="weight before", ylabel="weight after")
