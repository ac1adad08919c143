"""Each expert adds weights to hold; the weights used for a sample grow only by the gate. Never told
that the images come from four domains, it sends most of a domain's images to one or two experts.

Two panels. On the left, weights in thousands against the number of experts, one to sixteen: those
held rise in a straight line to about ten thousand; those used for one sample rise from under one
thousand to below two. On the right, a map of four domains by eight experts after training, share of
each domain's images: a domain has one or two bright cells, two domains share one of them, and most
cells are dark.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts
from lexicon.sparsity.token_routing import LoadBalance
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import he_normal

rng = np.random.default_rng(0)
data = stratified_split(*load_digits(), rng=rng)
views = np.stack([np.arange(64), *(rng.permutation(64) for _ in range(3))])
domain, domain_test = (rng.integers(4, size=len(part)) for part in data[::2])
x = np.take_along_axis(data[0], views[domain], axis=1)
x_test = np.take_along_axis(data[2], views[domain_test], axis=1)

gate = Sequential([Linear(he_normal(64, 8, rng=rng)), LoadBalance(0.1, k=1)])
mixture = MixtureOfExperts(gate, [mlp([64, 8, 10], rng=rng) for _ in range(8)], k=1)
optimizer = Momentum(mixture, learning_rate=0.1)
train(mixture, optimizer, x, data[1], epochs=20, batch_size=32, rng=rng)
chosen = mixture.choose(gate.forward(x_test))
shares = np.array([chosen[domain_test == d].mean(axis=0) for d in range(4)])

weights = []
for n in range(1, 17):
    mixture = MixtureOfExperts(
        Linear(he_normal(64, n, rng=rng)), [mlp([64, 8, 10], rng=rng) for _ in range(n)], k=1
    )
    size = {name: theta.size for name, theta in mixture.params.items() if "weight" in name}
    answering = size["gate.weight"] + size["experts.0.0.weight"] + size["experts.0.2.weight"]
    weights.append([sum(size.values()) / 1000, answering / 1000])

fig, (left, right) = plt.subplots(1, 2, width_ratios=[1, 1.25])
left.plot(range(1, 17), weights)
left.lines[1].set_linestyle("--")
left.text(2, 6.8, "held", color="C0")
left.text(8, 2.1, "used for\na sample", color="C1")
left.set(xlabel="experts", ylabel="thousand weights", xticks=[1, 8, 16], ylim=(0, None))
image = right.imshow(100 * shares, aspect="auto", vmin=0, vmax=100)
right.set(xlabel="expert", ylabel="domain", xticks=range(8), yticks=range(4))
fig.colorbar(image, ax=right, label="images in %", ticks=[0, 50, 100])
