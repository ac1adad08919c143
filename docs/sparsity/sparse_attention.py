"""Left, which tokens the last of 64 hears: each local layer adds one window, a strided one behind a
local one adds everything. Right, what one layer holds at most: a mask on all pairs does not stop
the square, a list of pairs grows with the tokens.

Two panels. Left, rows of 64 cells, lit where the last token has a gradient. One to four local
layers with a window of 8 light the last 9, 17, 25 and 33 cells; a strided layer alone lights every
eighth; local then strided lights all. Right, megabytes against tokens, both on logarithmic axes,
measured over forward and backward. All pairs under a mask rise from about one to about seventy
between 256 and 2,048 tokens, fourfold for every doubling. The local pattern grows about as the
tokens do, and is at about six for 16,384 of them.
"""

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.softmax import Softmax
from lexicon.sparsity.sparse_attention import SparseAttention, local, strided

rng, n, d, window = np.random.default_rng(0), 64, 8, 8
near, far = local(n, window, causal=True), strided(n, window, causal=True)
networks = {f"{count} local": [near] * count for count in (1, 2, 3, 4)}
networks |= {"strided": [far], "local, strided": [near, far]}
heard = np.zeros((len(networks), n))
for row, patterns in zip(heard, networks.values(), strict=True):
    layers = [SparseAttention(pattern) for pattern in patterns]
    mix = rng.standard_normal((d, 3 * d)) / d
    y = rng.standard_normal((n, d))
    for layer in layers:
        y = layer.forward(y @ mix)
    dy = np.zeros((n, d))
    dy[-1] = 1  # of the last token only
    for layer in reversed(layers):
        dy = layer.backward(dy) @ mix.T
    row[:] = (dy != 0).any(axis=1)

fig, (left, right) = plt.subplots(1, 2, width_ratios=[1.25, 1])
left.imshow(np.where(heard, 1.0, np.nan), aspect="auto", vmin=0, vmax=1.6, interpolation="none")
left.set(xlabel="token", yticks=range(len(networks)), yticklabels=networks, xticks=[0, 31, 63])
left.set_yticks(np.arange(len(networks) - 1) + 0.5, minor=True)
left.tick_params(which="minor", length=0)
left.hlines(np.arange(len(networks) - 1) + 0.5, -0.5, n - 0.5, color="black", linewidth=0.5)

held: dict[str, list[float]] = {"masked": [], "local": []}
masked, sparse = [256, 512, 1024, 2048], [256, 1024, 4096, 16384]
for name, counts in [("masked", masked), ("local", sparse)]:
    for n in counts:
        x = rng.standard_normal((n, 3 * d), dtype=np.float32)
        q, k, v = np.split(x, 3, axis=1)
        pattern = local(n, window, causal=True)
        tracemalloc.start()
        if name == "local":
            layer = SparseAttention(pattern)
            layer.backward(layer.forward(x))
        else:
            mask, softmax = pattern.toarray(), Softmax()
            p = softmax.forward(np.where(mask, q @ k.T / np.float32(d**0.5), -np.float32(np.inf)))
            ds, dv = softmax.backward((p @ v) @ v.T), p.T @ (p @ v)
            dq, dk = ds @ k, ds.T @ q
        held[name].append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
right.loglog(masked, held["masked"], "C1s--", markersize=4)
right.loglog(sparse, held["local"], "C0o-", markersize=4)
right.text(230, 100, "all pairs,\nmasked", color="C1")
right.text(3000, 0.6, "local", color="C0")
right.set(xlabel="tokens", ylabel="most held, MB", ylim=(0.05, 400))
right.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
right.set_xticks([256, 2048, 16384], ["256", "2,048", "16,384"])
right.minorticks_off()
