"""Ten digits, the last five of them pale, as twelve neurons see them. Batch norm evens out the
columns, and the pale half stays paler. Layer norm evens out the rows: no row is pale, and whole
columns differ.

Three grids of ten samples by twelve features on one colour scale, dark for −2 and bright for 2. As
it comes, the lower five rows are nearly of one middle colour, and in the upper five some columns
are mostly bright or mostly dark. After batch norm no column as a whole is brighter than another,
but the lower rows still vary less than the upper ones. After layer norm all rows have equally
strong contrasts, and several columns are bright, or dark, from top to bottom.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm
from lexicon.training.weight_initialization import he_normal

digits = load_digits()[0][:10].copy()
digits[5:] *= 0.2  # pale
h = Linear(2 * he_normal(64, 12, rng=np.random.default_rng(0))).forward(digits)

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.4), sharey=True)
for ax, name, batch in [
    (axes[0], "as it comes", h),
    (axes[1], "batch norm ↓", BatchNorm(12).forward(h)),
    (axes[2], "layer norm →", LayerNorm(12).forward(h)),
]:
    image = ax.imshow(batch, aspect="auto", vmin=-2, vmax=2)
    ax.set(title=name, xlabel="feature", xticks=[0, 11], yticks=[0, 4.5, 9], yticklabels=[0, "", 9])
axes[0].set(ylabel="sample")
fig.colorbar(image, ax=axes, ticks=[-2, 0, 2], extend="both")
