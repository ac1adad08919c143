"""A network for digits, layer by layer, for one image. Nearly all of its parameters are in one
linear layer, and most of its FLOPs in a convolution of 584 parameters. Only
FLOPs of products with weights are counted.

Three panels of horizontal bars over the same seven layers: convolution, relu, convolution, relu,
linear, relu, linear. Parameters: 80, none, 584, none, 16,416, none and 330. FLOPs forward: 9,216,
none, 73,728, none, 32,768, none and 640. Bytes kept for backward: 256, 512, 2,048, 512, 2,048, 32
and 128.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.parameter_count import count_layers

rng = np.random.default_rng(0)
first, second, third, fourth = (
    rng.standard_normal(shape).astype(np.float32)
    for shape in [(8, 1, 3, 3), (8, 8, 3, 3), (32, 512), (10, 32)]
)
network = Sequential(
    [
        Convolution(first, padding=1),
        Activation(relu),
        Convolution(second, padding=1),
        Activation(relu),
        Reshape((512,)),
        Linear(third),
        Activation(relu),
        Linear(fourth),
    ]
)
rows = count_layers(network, np.zeros((1, 1, 8, 8), np.float32))
rows = [row for row in rows if row.kind != "Reshape"]
names = ["relu" if row.kind == "Activation" else row.kind.lower() for row in rows]

fig, axes = plt.subplots(1, 3, figsize=(5.6, 3.0), sharey=True)
for ax, title, numbers, color in [
    (axes[0], "parameters", [row.parameters for row in rows], "C0"),
    (axes[1], "FLOPs", [row.forward_flops for row in rows], "C1"),
    (axes[2], "bytes kept", [row.kept_bytes for row in rows], "C2"),
]:
    bars = ax.barh(range(len(rows)), numbers, color=color)
    ax.bar_label(bars, [f"{number:,}" for number in numbers], padding=3)
    ax.set(title=title, xlim=(0, 1.8 * max(numbers)), xticks=[])
    ax.spines["bottom"].set_visible(False)
axes[0].set_yticks(range(len(rows)), names)
axes[0].invert_yaxis()
