"""What a CSR layer costs, in percent of the dense one. It stores fewer bytes above half sparsity
and holds fewer in training above a quarter; FLOPs of dW are saved only where it is not made in
blocks.

Two panels over sparsity from 0 to 100 %; a horizontal line at 100 % is the dense layer. On the left
the bytes: those of the stored weight fall in a straight line, still 150 % at a quarter sparsity,
100 % at one half; with gradient and velocity they start at 133 % and cross 100 % at a quarter. On
the right the FLOPs: those of y and dx fall straight from 100 % to 0. Those of all three products
fall more slowly, to 39 %, because dW is multiplied in blocks; at 92 % sparsity, from where on it
is gathered, they drop to 8 % and follow the other line.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sampled_gradient import blocked, fastest
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.training.momentum import Momentum

rng = np.random.default_rng(0)
x = rng.standard_normal((8, 500), dtype=np.float32)
size = 500 * 500
sparsities = np.sort(np.append(np.linspace(0, 1, 26), 0.9199))
stored, training, two, three = [], [], [], []
for sparsity in sparsities:
    layer = CSRLinear(random_csr((500, 500), round((1 - sparsity) * size), rng=rng))
    optimizer = Momentum(layer, learning_rate=0.01)
    layer.backward(layer.forward(x))
    weight = layer.weight
    stored.append(weight.data.nbytes + weight.indices.nbytes + weight.indptr.nbytes)
    learns = layer.grads["weight"].nbytes + optimizer.velocity["weight"].nbytes
    training.append(stored[-1] + learns)
    in_blocks = fastest(weight.shape, weight.indptr) is blocked
    two.append(2 * weight.nnz)  # both times 2N: a multiplication and an addition for each sample
    three.append(2 * weight.nnz + (size if in_blocks else weight.nnz))

fig, axes = plt.subplots(1, 2, sharey=True)
axes[0].plot(100 * sparsities, 100 * np.array(stored) / (4 * size), "C1-")
axes[0].plot(100 * sparsities, 100 * np.array(training) / (12 * size), "C1--")
axes[0].text(54, 103, "stored", color="C1")
axes[0].text(2, 55, "in training", color="C1")
axes[0].set(title="bytes", xticks=[0, 25, 50, 100], ylabel="% of the dense layer")
axes[1].plot(100 * sparsities, 100 * np.array(three) / (3 * size), "C0-")
axes[1].plot(100 * sparsities, 100 * np.array(two) / (2 * size), "C0:")
axes[1].text(36, 84, "y, dx and dW", color="C0")
axes[1].text(10, 40, "y and dx", color="C0")
axes[1].set(title="FLOPs", xticks=[0, 50, 92], ylim=(0, 150), yticks=[0, 50, 100, 150])
for ax in axes:
    ax.axhline(100, color="k", linewidth=1)
    ax.set(xlabel="sparsity, %")
