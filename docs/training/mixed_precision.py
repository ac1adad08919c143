"""How large the gradients at the logits of a trained digits network are. Unscaled, about half of
them become 0 in float16. Times 65,536 most are kept, and none overflows.

Two outlined histograms over the size of a number, as powers of two from 2 to the −60 to 2 to the
20. Two vertical lines mark the range of float16: left of 2 to the −25 a number becomes 0, right of
2 to the 16 it overflows. The histogram of the unscaled gradients, dashed, is broad and has its peak
at the left line, with about half of its area beyond it. That of the scaled ones has the same shape,
sixteen powers of two further right. Less than a tenth of it is left of the left line, and its right
end stays below the right line.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.training.mixed_precision import HalfPrecision
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

rng = np.random.default_rng(0)
x, labels = load_digits()
network, criterion = mlp([64, 32, 10], rng=rng), CrossEntropy()
optimizer = Momentum(network, learning_rate=0.05)
train(network, optimizer, x, labels, epochs=20, batch_size=32, rng=rng)
half = HalfPrecision(network)
dlogits = []
for start in range(0, 1600, 32):
    batch = slice(start, start + 32)
    criterion.forward(half.forward(x[batch]), labels[batch])
    dlogits.append(criterion.backward().ravel())
sizes = np.abs(np.concatenate(dlogits))
sizes = sizes[sizes > 0]

fig, ax = plt.subplots()
bins = np.arange(-60, 22, 2)
for name, scale, style, place in (
    ("unscaled", 1.0, "C1--", (-45, 5.5)),
    (f"times {half.scale:,.0f}", half.scale, "C0-", (-10, 9.0)),
):
    count, _ = np.histogram(np.log2(sizes * scale), bins)
    ax.step(bins[:-1], 100 * count / len(sizes), style, where="post")
    ax.text(*place, name, color=style[:2], ha="center")
for end, text, where, side in (-25, "becomes 0", -26, "right"), (16, "overflows", 17, "left"):
    ax.axvline(end, color="k", linewidth=0.8)
    ax.text(where, 11, text, ha=side)
ax.set(xlabel="size of a gradient", ylabel="share in %", xlim=(-61, 33), ylim=(0, 12))
ax.set_xticks([-50, -25, 0, 16], [f"$2^{{{exponent}}}$" for exponent in (-50, -25, 0, 16)])
ax.set_yticks([0, 5, 10])
