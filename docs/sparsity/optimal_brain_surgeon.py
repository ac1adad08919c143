"""Left: half the squared error of a neuron against two of its weights, for two pixels that overlap.
Setting one weight to zero climbs the valley's side; the surgeon walks along the valley. Right: what
that is worth in three networks, half to 95 % of the weights removed, no fine-tuning.

Left, contour lines of a long, slanted valley around the trained weights. Two paths lead from there
to the line where the first weight is zero: one straight to the left, across many contours, the
other slanting upwards along the valley, with about a seventh of the error. Right, test accuracy
against weights removed, bands from the worst to the best network: both start near 96 per cent. The
surgeon is still above 90 with nine in ten removed and ends near 77; magnitude falls to about 70 and
53.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.optimal_brain_surgeon import (
    output_hessian,
    remove_in_turn,
    surgeon_network,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

kept, seeds = [0.5, 0.2, 0.1, 0.05], range(3)
read = np.zeros((2, len(kept), len(seeds)))  # surgeon, magnitude
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    for i, share in enumerate(kept):
        masks = layer_masks(magnitude_scores(network), 1 - share)
        both = surgeon_network(network, x, 1 - share), prune_network(network, masks)
        read[:, i, seed] = [100 * accuracy(pruned, x_test, labels_test) for pruned in both]

fig, (valley, curves) = plt.subplots(1, 2, width_ratios=[4, 5])
hessian = output_hessian(x[:, [10, 3]].astype(np.float64), damping=0.0)  # pixels that touch
w = np.array([0.5, 0.5])
there, _, [cost] = remove_in_turn(w, np.linalg.inv(hessian), 1)
first, second = np.meshgrid(np.linspace(-0.2, 1, 81), np.linspace(0, 1.2, 81))
delta = np.stack([first - w[0], second - w[1]], axis=-1)
error = (delta @ hessian * delta).sum(axis=-1) / 2
alone = hessian[0, 0] * w[0] ** 2 / 2
valley.contour(
    first, second, error, [cost / 3, cost, alone / 2, alone], colors="C0", linewidths=0.8
)
valley.axvline(0, color="k", linestyle=":")
for end, colour, style in ((there, "C2", "-"), (w * [0, 1], "C1", "--")):
    valley.plot(*zip(w, end, strict=True), colour + style, marker="o", markersize=4)
valley.text(0.25, 0.98, "surgeon", color="C2")
valley.text(0.1, 0.37, "OBD", color="C1")
valley.set(xlabel="weight 1", ylabel="weight 2", xlim=(-0.2, 1), ylim=(0, 1.2))
valley.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
for curve, style in zip(read, ["C2o-", "C3s--"], strict=True):
    curves.semilogx(kept, curve.mean(axis=1), style, markersize=4)
    low, high = curve.min(axis=1), curve.max(axis=1)
    curves.fill_between(kept, low, high, color=style[:2], alpha=0.3)
curves.set(xlabel="weights removed", ylabel="test accuracy, %", ylim=(0, 103), xlim=(0.6, 0.042))
curves.set_xticks(kept, [f"{100 - 100 * share:.0f} %" for share in kept])
curves.minorticks_off()
curves.text(0.12, 97, "surgeon", color="C2")
curves.text(0.25, 58, "magnitude", color="C3", ha="center")
