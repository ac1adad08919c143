"""Three hidden layers, five connections for every neuron on either side, a batch of 128. Dense
weights alone outgrow 16 GB beyond a hundred thousand neurons; all that the sparse network keeps
fits at three million, and most of it is activations.

Memory against hidden neurons, 300 to 3 million, both axes logarithmic. Dense weights rise twice as
steeply as the rest: they cross a dotted line at 16 GB at about 130,000 neurons, and approach 1 TB
at a million. What the sparse network keeps for its connections and its activations rises in
proportion to neurons: at a million about 0.2 GB and 0.5 GB.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.erdos_renyi import epsilon_counts
from lexicon.sparsity.million_neurons import training_cost, wide_sizes

neurons = np.geomspace(300, 3_000_000, 40).astype(int)
dense, connections, activations = [], [], []
for number in neurons:
    sizes = wide_sizes(number)
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
    cost = training_cost(sizes, epsilon_counts(shapes, 5), samples=128)
    dense.append(sum(4 * int(n_out) * int(n_in) for n_out, n_in in shapes))
    connections.append(sum(cost[:4]))
    activations.append(cost.activation_bytes)

fig, ax = plt.subplots(figsize=(5.6, 3.4))
ax.loglog(neurons, dense, "C1--")
ax.loglog(neurons, activations, "C2-.")
ax.loglog(neurons, connections, "C0-")
ax.axhline(16e9, color="k", linestyle=":")
ax.text(300, 20e9, "16 GB")
ax.text(8000, 0.6e9, "dense:\nweights alone", color="C1", ha="right")
ax.text(150_000, 0.2e9, "activations", color="C2", ha="right")
ax.text(
    3e6, 7e6, "sparse:\nvalues, columns,\ngradients, velocities", color="C0", ha="right", va="top"
)
ax.set(xlabel="hidden neurons", ylabel="memory", xlim=(250, 4e6), ylim=(3e5, 1e12))
ax.set_xticks([1e3, 1e4, 1e5, 1e6], ["1,000", "10,000", "100,000", "1 million"])
ax.set_yticks([1e6, 1e9, 1e12], ["1 MB", "1 GB", "1 TB"])
ax.minorticks_off()
