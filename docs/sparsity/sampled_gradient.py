"""For a layer of 1000 × 1000 gathering takes the fewest FLOPs and blocks the fewest bytes; dots
mark which of them sampled_gradient chooses. Gathered at once, not in chunks, it soon takes more
bytes than the whole.

Two panels against the density, from 0.1 to 25.6 %, all axes logarithmic, for a batch of 64. On the
left the FLOPs: 128 million at any density for the whole gradient and for blocks, while gathering
needs a thousandth of that at 0.1 % and rises in proportion to density. On the right the megabytes
held beyond the result: about four for the whole gradient, one to one and a half when gathered in
chunks, a half to one in blocks. Gathered at once the line is steep and passes the whole gradient
between 0.4 and 0.8 %. Dots follow gathering up to 6.4 % density, and blocks at 12.8 and 25.6 %.
"""

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.sampled_gradient import blocked, fastest, gathered
from lexicon.sparsity.sparse_from_scratch import random_csr

rng = np.random.default_rng(0)
x, dy = rng.standard_normal((2, 64, 1000), dtype=np.float32)
ways = [
    ("whole", "C1-", (29, 4.1), lambda dy, x, *_: (dy.T @ x)[rows, w.indices]),
    ("blocked", "C2--", (29, 0.85), blocked),
    ("gathered", "C0-.", (29, 1.5), gathered),
    ("at once", "C3:", (1.9, 10.5), lambda dy, x, *_: (dy[:, rows] * x[:, w.indices]).sum(axis=0)),
]
fig, (left, right) = plt.subplots(1, 2)
for name, style, place, way in ways:
    densities, flops, peaks = [], [], []
    for nnz in [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000]:
        if name == "at once" and nnz > 16_000:
            break  # a hundred megabytes and more
        w = random_csr((1000, 1000), nnz, rng=rng)
        rows = w.tocoo().row
        tracemalloc.start()
        gradient = way(dy, x, w.indptr, w.indices)
        peaks.append((tracemalloc.get_traced_memory()[1] - gradient.nbytes) / 1e6)
        tracemalloc.stop()
        densities.append(nnz / 10_000)
        flops.append(2 * 64 * (1 if name in ("whole", "blocked") else nnz / 1e6))
        if way is fastest(w.shape, w.indptr):
            left.plot(densities[-1], flops[-1], "ko", markersize=4)
            right.plot(densities[-1], peaks[-1], "ko", markersize=4)
    left.loglog(densities, flops, style)
    right.loglog(densities, peaks, style)
    right.text(*place, name, color=style[:2], va="center")
left.text(0.1, 60, "whole and blocked")
left.text(1.2, 0.5, "gathered", color="C0")
left.set(title="million FLOPs", yticks=[0.1, 1, 10, 100], yticklabels=["0.1", "1", "10", "100"])
right.set(title="megabytes", yticks=[0.5, 1, 5, 10], yticklabels=["0.5", "1", "5", "10"])
for ax in (left, right):
    ax.minorticks_off()
    ax.set(xlabel="density, %", xticks=[0.1, 1, 10], xticklabels=["0.1", "1", "10"])
