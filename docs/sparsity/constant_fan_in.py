"""Two connections a neuron, between 64 inputs and 64 neurons. Drawn anywhere, some neurons have no
input at all; drawn two at each, none is without. How many neurons read an input is as uneven either
way.

Two bar charts, averages of 300 draws. Left, how many of 64 neurons have 0, 1, 2 and more inputs:
drawn anywhere, about 8 have none, 17 one, 18 two, and a few six or more; drawn two each, all 64
have two. Right, how many of 64 inputs have 0, 1, 2 and more readers: the bars of both are nearly
the same, with about 8 inputs that nobody reads.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.constant_fan_in import constant_fan_in
from lexicon.sparsity.sparse_from_scratch import random_csr

SIZE, FAN_IN, DRAWS = 64, 2, 300
rng = np.random.default_rng(0)
inputs, readers = np.zeros((2, 2, 8))  # of anywhere and each: neurons with 0 to 7
for _ in range(DRAWS):
    anywhere = random_csr((SIZE, SIZE), SIZE * FAN_IN, rng=rng)
    each = constant_fan_in((SIZE, SIZE), FAN_IN, rng=rng)
    for i, weight in enumerate([anywhere, each]):
        fan_in, fan_out = np.diff(weight.indptr), np.bincount(weight.indices, minlength=SIZE)
        inputs[i] += np.bincount(np.minimum(fan_in, 7), minlength=8) / DRAWS
        readers[i] += np.bincount(np.minimum(fan_out, 7), minlength=8) / DRAWS

fig, axes = plt.subplots(1, 2, sharey=True)
for ax, numbers, name in [
    (axes[0], inputs, "inputs of a neuron"),
    (axes[1], readers, "readers of an input"),
]:
    ax.bar(np.arange(8) - 0.2, numbers[0], 0.4, color="C1", label="anywhere", hatch="///")
    ax.bar(np.arange(8) + 0.2, numbers[1], 0.4, color="C0", label="two each")
    ax.set(xlabel=name, xticks=range(8))
axes[0].set_ylabel("how many of 64")
axes[1].legend()
