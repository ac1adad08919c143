"""Left: the gradient on its way back through 20 layers, before training. Right: what reaches the
weights of the first layer, over training. What starts at nothing stays there. Layer norm stands
before sigmoids. Bands: three draws.

Left, the size of the gradient relative to layer 20, against the layer, on a logarithmic axis from
1e-12 to 1e6. From layer 20 down to layer 1 a sigmoid stack falls along a straight line to about
1e-12, with layer norm to about 1e-8. Sigmoids with batch norm and ReLUs with He's weights stay near
1; ReLUs with weights twice as large rise to almost a million. Right, the size of the first layer's
weight gradient over 60 steps of training: between 1e-3 and 1e-1 for ReLU with He's weights and for
sigmoids with batch norm, and below 1e-14 throughout for plain sigmoids.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu, sigmoid
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm
from lexicon.training.momentum import Momentum
from lexicon.training.vanishing_gradients import gradient_sizes

digits, truth = load_digits()
loss = CrossEntropy()
fig, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.3), width_ratios=(3, 2))
for name, style, place, f, gain, norms, steps in [
    ("ReLU, 2 × He", "C3-.", (4, 1e6), relu, 8**0.5, [], 1),
    ("ReLU, He", "C0-", (1.2, 1e-2), relu, 2**0.5, [], 60),
    ("sigmoid, batch norm", "C2--", (1.5, 12.0), sigmoid, 1.0, [BatchNorm], 60),
    ("layer norm", "C4-", (1.2, 6e-5), sigmoid, 1.0, [LayerNorm], 1),
    ("sigmoid", "C1:", (9, 1e-11), sigmoid, 1.0, [], 60),
]:
    through, over = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        layers = []
        for n_in in [64] + [32] * 19:
            layers.append(Linear(rng.normal(0, gain / n_in**0.5, (32, n_in)).astype(np.float32)))
            layers += [*(norm(32) for norm in norms), Activation(f)]
        layers.append(Linear(rng.normal(0, 32**-0.5, (10, 32)).astype(np.float32)))
        network = Sequential(layers)
        optimizer, seen = Momentum(network, learning_rate=0.01), []
        for _ in range(steps):
            batch = rng.choice(len(truth), 64, replace=False)
            y = truth[batch]
            gradient = lambda z, y=y: (loss.forward(z, y), loss.backward())[1]  # noqa: E731
            seen.append(gradient_sizes(network, digits[batch], gradient))
            optimizer.step()
        through.append([sizes.output for sizes in seen[0].values()][:20])
        over.append([sizes["0.weight"].weight for sizes in seen])
    through = np.array(through) / np.array(through)[:, -1:]
    drawn = [(left, np.arange(1, 21), through), (right, np.arange(steps), over)]
    for ax, x, size in drawn if steps > 1 else drawn[:1]:
        ax.semilogy(x, np.exp(np.mean(np.log(size), axis=0)), style)
        ax.fill_between(x, np.min(size, 0), np.max(size, 0), color=style[:2], alpha=0.3)
    left.text(*place, name, color=style[:2])
left.set(
    yticks=[1e-10, 1e-5, 1, 1e5],
    xlabel="layer",
    ylabel="gradient, relative to layer 20",
    xticks=[1, 10, 20],
)
right.set(xticks=[0, 30, 60], yticks=[1e-15, 1e-10, 1e-5, 1])
right.set(xlabel="step", ylabel="gradient of first weights")
