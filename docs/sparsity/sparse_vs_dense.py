"""What a sparse network costs, relative to the dense one of its shape. Rings mark where it begins
to pay: FLOPs from the first zero on, bytes from 50 % sparsity, seconds, measured on one machine,
last.

Costs of sparse over dense, of a network of three hidden layers for the seconds and of a smaller one
for the counts, against sparsity from 0 to 99 %; a dotted line marks equal cost. Bytes fall on a
straight line from 2 through 1 at a sparsity of 50 %. FLOPs of a training step fall slowly from 1 to
0.4, and drop to below a tenth at a sparsity of 92 %, where the gradient is gathered. Seconds, five
measurements from 80 % on, lie above both: they cross 1 a little above 80 % and end at about an
eighth.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_vs_dense import crossover, network_cost

rng = np.random.default_rng(0)
sizes = [256, 256, 256, 256]
whole = network_cost(mlp(sizes, rng=rng))
sparsities = [0, 0.25, 0.5, 0.75, 0.9, 0.919, 0.921, 0.95, 0.99]
flops, size = [], []
for sparsity in sparsities:
    counts = 3 * [round((1 - sparsity) * 256 * 256)]
    cost = network_cost(mlp_of_counts(sizes, counts, rng=rng))
    flops.append(cost.step_flops / whole.step_flops)
    size.append(cost.weight_bytes / whole.weight_bytes)

rows = json.loads((Path(__file__).parents[1] / "measured/steps.json").read_text("utf-8"))
rows = [row for row in rows if row["contestant"] == "csr" and row["phase"] == "step"]
measured = [row["sparsity"] for row in rows], [1 / row["speedup_vs_dense"] for row in rows]

fig, ax = plt.subplots(figsize=(5.6, 3.4))
ax.axhline(1, color="k", linestyle=":", linewidth=1)
for s, ratios, style in [
    (sparsities, flops, "C2-"),
    (sparsities, size, "C0--"),
    (*measured, "C1o-."),
]:
    ax.plot(s, ratios, style, markersize=4)
    ax.plot(crossover(s, ratios), 1, "ko", markersize=10, fillstyle="none")
ax.text(0.28, 1.55, "bytes", color="C0")
ax.text(0.28, 0.6, "FLOPs", color="C2")
ax.text(0.82, 1.12, "seconds", color="C1", ha="center")
ax.set(xlabel="sparsity", ylabel="sparse / dense", ylim=(0, 2.05))
ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
ax.set_yticks([0, 0.5, 1, 1.5, 2])
