"""A matrix of 256 × 256 float32 values fills up. Below a half CSR takes fewer bytes than the dense
array, below a third COO does; for BSR all depends on whether the nonzeros come in blocks.

Bytes relative to the dense array, against the share of nonzeros. Dense is a horizontal line at 1.
COO and CSR are straight lines from 0: COO crosses 1 at a third and CSR, at a dot, a little below
one half. BSR with blocks of 4 × 4 has two curves. For scattered nonzeros it climbs steeply, crosses
1 at about a sixth and levels off a little above. For nonzeros that fill whole blocks it is
a straight line, half as steep as CSR's, that crosses 1 only when the matrix is nearly full.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.sparsity.sparse_matrix import break_even_density, stored_bytes, to_bsr, to_coo, to_csr

rng = np.random.default_rng(0)
scattered = rng.random((256, 256))
together = rng.random((64, 64)).repeat(4, axis=0).repeat(4, axis=1)
fig, ax = plt.subplots()
for draws, convert, block, style in [
    (scattered, to_coo, (), "C1-."),
    (scattered, to_csr, (), "C0-"),
    (scattered, to_bsr, [(4, 4)], "C2:"),
    (together, to_bsr, [(4, 4)], "C2--"),
]:
    shares, sizes = [], []
    for density in np.linspace(0, 1, 41):
        dense = (draws < density).astype(np.float32)
        shares.append(100 * np.mean(dense != 0))
        sizes.append(stored_bytes(convert(dense, *block)) / dense.nbytes)
    ax.plot(shares, sizes, style)
ax.axhline(1, color="k", linewidth=1)
ax.plot(100 * break_even_density((256, 256)), 1, "C0o")
ax.text(37, 1.25, "COO", color="C1", ha="right")
ax.text(66, 1.25, "CSR", color="C0")
ax.text(1, 1.1, "BSR, scattered", color="C2")
ax.text(78, 0.7, "BSR,\nin blocks", color="C2", va="top")
ax.text(70, 0.91, "dense")
ax.set(xlabel="nonzeros, % of all numbers", xticks=[0, 25, 50, 75, 100])
ax.set(ylabel="bytes, dense = 1", ylim=(0, 1.4), yticks=[0, 0.5, 1])
