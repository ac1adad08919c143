"""Beyond the 32 bits of the value itself, a bit mask pays less than gaps and CSR while more than an
eighth of the positions is taken, gaps below that, CSR where hardly any is. Dots are a trained
layer, pruned.

Bits for each stored value, beyond its own 32, against density from 0.1 % to 97 %, both axes
logarithmic. CSR is level at 32. Gaps are level at 8 down to a density of about 2 %, then rise as
fillers are needed, and cross CSR below half a per cent; eight dots of a pruned layer lie on their
line. The bit mask falls steadily and crosses CSR at about 3 % and gaps at about 12 %. Dense falls
last and steepest, and crosses CSR at 50 %. A dotted line below all, the entropy, falls from about
11 bits, and touches the bit mask at 50 %.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.sparsity.magnitude_prune import magnitude_prune
from lexicon.sparsity.sparse_matrix import stored_bytes
from lexicon.sparsity.sparse_storage import bits_per_position, pack_gaps
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

density = np.geomspace(0.001, 0.97, 300)
bits = [bits_per_position(d) for d in density]
fig, ax = plt.subplots(figsize=(5.6, 3.4))
for name, style in [("dense", "C3-"), ("CSR", "C0--"), ("bit mask", "C1-."), ("gaps", "C2-")]:
    ax.loglog(density, np.array([each[name] for each in bits]) / density - 32, style)
ax.loglog(density, np.array([each["floor"] for each in bits]) / density - 32, "k:")

rng = np.random.default_rng(0)
network = mlp([64, 512, 10], rng=rng)
optimizer = Momentum(network, learning_rate=0.05)
train(network, optimizer, *load_digits(), epochs=3, batch_size=64, rng=rng)
for kept in [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002]:
    sparse = magnitude_prune(network.layers[0], 1 - kept).weight
    ax.plot(kept, 8 * stored_bytes(pack_gaps(sparse)) / sparse.nnz - 32, "C2o", markersize=4)

ax.text(0.0012, 36, "CSR", color="C0")
ax.text(0.011, 110, "bit mask", color="C1")
ax.text(0.0012, 150, "gaps", color="C2", ha="left", va="bottom")
ax.text(0.27, 110, "dense", color="C3")
ax.text(0.0012, 9, "floor", va="top")
ax.set(xlabel="density", ylabel="bits a value beyond its own 32", ylim=(1, 230))
ax.set_xticks([0.001, 0.01, 0.1, 0.5], ["0.1 %", "1 %", "10 %", "50 %"])
ax.set_yticks([1, 8, 32, 100], ["1", "8", "32", "100"])
ax.minorticks_off()
