"""What SNIP keeps depends on the batch. Scored on all digits it keeps the middle of the picture,
and about as much for each output; scored on zeros alone it keeps the ring of the zero, and the
zero's output takes about four times its fair share.

Three panels, means over twenty untrained networks of which 95 % of the weights are removed. Two
pictures of 8 by 8 pixels show how many connections each pixel keeps. For a batch of all digits they
gather in the middle columns, and the outermost columns have none; for a batch of zeros a ring is
lit and its middle is dark. The third panel is the share of the output layer's connections that each
digit keeps: about a tenth each for all digits; for zeros, more than two fifths belong to digit
0, and every other has less than a tenth.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.sparsity.global_prune import global_masks
from lexicon.sparsity.snip import snip_scores

x, labels = load_digits()
order = np.argsort(labels, kind="stable")
batches = {"all digits": order[::18], "only zeros": order[:100]}

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.5), width_ratios=[1, 1, 1.3])
for ax, (name, batch), style in zip(axes, batches.items(), ["C0o-", "C1s--"], strict=False):
    pixels, outputs = np.zeros(64), np.zeros(10)
    for seed in range(20):
        network = mlp([64, 64, 10], rng=np.random.default_rng(seed))
        first, last = global_masks(snip_scores(network, x[batch], labels[batch]), 0.95).values()
        pixels += first.sum(axis=0) / 20
        outputs += 100 * last.sum(axis=1) / last.sum() / 20
    image = ax.imshow(pixels.reshape(8, 8), vmin=0, vmax=10)
    ax.set(title=name, xticks=[], yticks=[])
    axes[2].plot(outputs, style, markersize=4)
fig.colorbar(image, ax=axes[:2], location="bottom", label="connections of a pixel")
axes[2].set(xlabel="output: digit", ylabel="connections in %", xticks=[0, 3, 6, 9], ylim=(0, 52))
axes[2].text(0.6, 42, "only zeros", color="C1")
axes[2].text(3.2, 18, "all digits", color="C0")
