"""Weights that a mask has just taken out of three networks. Leave one of three things undone, and
data, decay or momentum move them; do all three, and they stay on the thick line, at zero.

Three panels, twelve masked weights in each over the 57 steps that follow the mask; the vertical
axis goes from -0.08 to 0.08. Where the gradient is not masked, they start at zero and wander apart,
the farthest beyond 0.04. Where the weights were not set to zero, only left out of the forward pass,
they start at their old values, up to 0.07, and shrink steadily by about a fifth. Where the velocity
was not cleared they leave zero at once, spread for about twenty steps and stay there, the farthest
at -0.02. A thick line at exactly zero crosses all panels: the largest of all masked weights when
gradient, weight and velocity have been taken care of.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.mask import MaskedLinear, kept, top_k
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import train

x, labels = load_digits()
criterion = CrossEntropy()
fig, axes = plt.subplots(1, 3, sharex=True, sharey=True)
undone = ["gradient", "weight", "velocity", "nothing"] * 3
for run in range(12):
    rng = np.random.default_rng(run // 4)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05, weight_decay=0.01)
    train(network, optimizer, x, labels, epochs=2, batch_size=32, rng=rng)
    weight = network.layers[0].params["weight"]
    trained = weight.copy()
    mask = top_k(np.abs(weight).ravel(), kept(weight.size, 0.5)).reshape(weight.shape)
    masked = MaskedLinear(network.layers[0], mask)
    if undone[run] != "gradient":
        network = Sequential([masked, *network.layers[1:]])
    if undone[run] == "weight":
        weight[:] = trained
    if undone[run] != "velocity":
        optimizer.velocity["0.weight"][~mask] = 0
    path = []
    for batch in minibatches(len(x), 32, rng=rng):
        path.append(weight[~mask])
        if undone[run] == "weight":
            weight[~mask] = 0  # in the forward pass only
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        weight[~mask] = path[-1]
        optimizer.step()
    path = np.array(path)
    if undone[run] == "nothing":
        for ax in axes:
            ax.plot([0, 56], np.abs(path).max(axis=1)[[0, 56]], "k", linewidth=2)
    else:
        axes[run % 4].plot(np.arange(0, 57, 2), path[::2, 50::500], "C1", linewidth=1)
axes[0].set(title="gradient\nnot masked", ylabel="masked weight", ylim=(-0.08, 0.08))
axes[1].set(title="weight not\nset to zero", yticks=[-0.05, 0, 0.05])
axes[2].set(title="velocity\nnot cleared", xticks=[0, 50])
axes[2].text(2, -0.07, "thick line:\nall three done")
fig.supxlabel("step", fontsize="medium")
