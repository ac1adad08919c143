"""One weight at a time, the score foretells how much of the gradient flow goes with it. Remove most
weights by that score, and the flow is not preserved: up to 95 % it is multiplied. Bands over three
networks.

Left, 160 single weights of an untrained network, the flow really lost without each against twice
its score: nearly all points lie on the diagonal, a few large ones below it. Right, the flow of the
network that is left over that of the dense one, on a logarithmic axis, against the share of weights
removed, 50 to 98 %.
Chosen by GraSP it is about forty times as large at 50 % and comes down to about twice at 98 %,
where one of the three networks is below the dense one.
Chosen at random it falls from a sixth to less than a thousandth.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.grasp import grasp_scores


def flow(network):
    """Return the squared norm of the gradient of all parameters."""
    criterion = CrossEntropy()
    criterion.forward(network.forward(x), labels)
    network.backward(criterion.backward())
    return sum((g**2).sum() for g in network.grads.values())


x, labels = (part[:300] for part in load_digits())
removed, seeds = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98], range(3)
left = np.zeros((2, len(removed), len(seeds)))
whole = np.zeros(len(seeds))
for seed in seeds:
    rng = np.random.default_rng(seed)
    network = mlp([64, 64, 10], rng=rng)
    whole[seed] = flow(network)
    choices = grasp_scores(network, x, labels), random_scores(network, rng=rng)
    for i, share in enumerate(removed):
        for j, scores in enumerate(choices):
            left[j, i, seed] = flow(prune_network(network, layer_masks(scores, share)))

fig, (one, many) = plt.subplots(1, 2)
weight, score = network.params["2.weight"], choices[0]["2.weight"]
places = rng.choice(weight.size, 160, replace=False)
lost = []
for place in places:
    kept, weight.flat[place] = weight.flat[place], 0
    lost.append(whole[-1] - flow(network))
    weight.flat[place] = kept
one.axline((0, 0), slope=1, color="black", linewidth=0.8)
one.plot(2 * score.flat[places], lost, "C0o", markersize=3)
one.set(title="one weight", xlabel="2 · score", ylabel="flow lost", xticks=[-0.1, 0, 0.1])
one.set(yticks=[-0.1, 0, 0.1], xlim=(-0.16, 0.16), ylim=(-0.16, 0.16))
for j, (name, style) in enumerate([("GraSP", "C0o-"), ("random", "C1s--")]):
    ratio = left[j] / whole
    many.semilogy(removed, ratio.mean(axis=1), style, markersize=4)
    many.fill_between(removed, *np.quantile(ratio, [0, 1], axis=1), color=style[:2], alpha=0.3)
    many.text(0.52, [4, 0.005][j], name, color=style[:2])
many.axhline(1, color="black", linewidth=0.8)
many.text(0.52, 0.42, "dense")
many.set(title="many weights", xlabel="weights removed", ylabel="flow left / dense")
many.set_xticks([0.5, 0.7, 0.9], ["50 %", "70 %", "90 %"])
