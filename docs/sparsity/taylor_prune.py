"""For one weight, the score (w · g, size first) is almost exactly what its removal does. For most
of the weights at once it is not: on average it beats both ways of using the mean gradient, and at
90 % plain magnitude beats it.

Left, 150 single weights of a trained network on logarithmic axes, how much the samples' losses
really move without each against its score: almost all points lie on the diagonal, over several
powers of ten. Right, test accuracy in per cent against the share of weights removed, 50, 70, 80
and 90 %, nothing fine-tuned, bands from the worst to the best of three networks. By the gradient
alone it falls from about 83 to 26, by weight times mean gradient from 94 to 46, by the mean of
sizes from 96 to about 55, by magnitude from 96 to 70.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.softmax import log_softmax
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

removed, seeds = [0.5, 0.7, 0.8, 0.9], range(3)
read = np.zeros((4, len(removed), len(seeds)))
for seed in seeds:
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    taylor = taylor_scores(network, x, labels)
    slope = {name: np.abs(network.grads[name]) for name in taylor}
    cancelled = {name: slope[name] * np.abs(network.params[name]) for name in taylor}
    for j, scores in enumerate([slope, cancelled, taylor, magnitude_scores(network)]):
        for i, share in enumerate(removed):
            pruned = prune_network(network, layer_masks(scores, share))
            read[j, i, seed] = 100 * accuracy(pruned, x_test, labels_test)

weight, score = network.params["0.weight"], taylor["0.weight"]
places = rng.choice(np.flatnonzero(score), 150, replace=False)
each, moved = np.arange(len(x)), []
before = log_softmax(network.forward(x))[each, labels]
for place in places:
    kept, weight.flat[place] = weight.flat[place], 0
    moved.append(np.abs(log_softmax(network.forward(x))[each, labels] - before).mean())
    weight.flat[place] = kept

fig, (one, many) = plt.subplots(1, 2)
one.axline((1e-4, 1e-4), (1e-3, 1e-3), color="black", linewidth=0.8)
one.loglog(score.flat[places], moved, "C0o", markersize=3)
one.set(title="one weight", xlabel="score", ylabel="change of loss")
named = [("|g|", "C1s--"), ("|w · mean g|", "C2^-."), ("mean |w · g|", "C0o-"), ("|w|", "C3d:")]
for curve, (name, style) in zip(read, named, strict=True):
    many.plot(removed, curve.mean(axis=1), style, markersize=4, label=name)
    many.fill_between(removed, curve.min(axis=1), curve.max(axis=1), color=style[:2], alpha=0.2)
many.set(title="many weights", xlabel="weights removed", ylabel="test accuracy in %", ylim=(0, 102))
many.set_xticks([0.5, 0.7, 0.9], ["50 %", "70 %", "90 %"])
many.legend(loc="lower left", frameon=False)
