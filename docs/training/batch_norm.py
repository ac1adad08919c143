"""Left: what five neurons deep in an untrained stack say of 100 digits differs in mean and spread;
after batch norm all five are alike. Right: at a rate too large for a plain deep stack, one with
batch norm learns.

Left, five features as points with bars, the mean and one standard deviation to either side.
Before, triangles: means between −0.2 and 0.8, short bars of different lengths. After, dots: every
mean is 0 and every bar reaches from −1 to 1. Right, the training loss over five epochs for eight
hidden layers at learning rate 0.3: the mean of three seeds, and a band for their range. The plain
stacks stay above 2 for three epochs and above 1.3 to the end. With batch norm the loss falls from
about 1.1 to about 0.4.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

x, labels = load_digits()
fig, (left, right) = plt.subplots(1, 2, figsize=(5.6, 2.9))
h, rng = x[:100], np.random.default_rng(0)
for n_in in (64, 32, 32):
    h = np.maximum(Linear(he_normal(n_in, 32, rng=rng)).forward(h), 0)
h = Linear(he_normal(32, 32, rng=rng)).forward(h)
before = h[:, :5]
after = BatchNorm(5).forward(before)
for place, batch, style in [(-0.15, before, "C1^"), (0.15, after, "C0o")]:
    feature = np.arange(5) + place
    left.errorbar(feature, batch.mean(axis=0), batch.std(axis=0), fmt=style, capsize=3)
left.axhline(0, color="k", linewidth=0.5)
left.text(-0.3, 1.25, "before", color="C1")
left.text(1.4, -1.4, "after", color="C0")
left.set(xlabel="feature", ylabel="mean and spread", xticks=range(5))
left.set(ylim=(-1.5, 1.5), yticks=[-1, 0, 1])

for name, style, normed in [("plain", "C1--", False), ("batch norm", "C0-", True)]:
    losses = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        layers, n_in = [], 64
        for _ in range(8):
            layers.append(Linear(he_normal(n_in, 32, rng=rng)))
            layers += [BatchNorm(32)] * normed + [Activation(relu)]
            n_in = 32
        network = Sequential([*layers, Linear(he_normal(32, 10, rng=rng))])
        optimizer = StochasticGradientDescent(network, learning_rate=0.3)
        history = train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
        losses.append([epoch.loss for epoch in history])
    right.plot(range(1, 6), np.mean(losses, axis=0), style)
    right.fill_between(
        range(1, 6), np.min(losses, 0), np.max(losses, 0), color=style[:2], alpha=0.3
    )
    right.text(3, 1.4 if name == "plain" else 0.8, name, color=style[:2])
right.set(xlabel="epoch", ylabel="training loss", xticks=range(1, 6), ylim=(0, None))
