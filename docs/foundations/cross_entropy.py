"""What a yes-or-no answer costs when the truth is a yes, and how hard the loss pulls on the logit.
The worst mistakes lie at the left: there cross-entropy pulls with full force, and the squared error
of the probability hardly at all.

Two panels against the probability given to the truth, from 0 to 1. Loss: cross-entropy comes down
from beyond 4, is about 0.7 at a half, and ends at 0; squared error falls from 1 to 0. Pull, the
size of the gradient at the logit: that of cross-entropy is a straight line from 1 down to 0; that
of squared error is 0 at both ends, and highest, at about 0.3, where the truth was given a third.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.activation import sigmoid
from lexicon.foundations.cross_entropy import BinaryCrossEntropy

z = np.linspace(-6, 6, 121)  # the logit of a yes, and yes is true
p, slope = sigmoid(z)
criterion = BinaryCrossEntropy()
loss, pull = np.empty((2, len(z)))
for i in range(len(z)):
    loss[i] = criterion.forward(z[i : i + 1], np.ones(1))
    pull[i] = -criterion.backward()[0]

fig, (losses, pulls) = plt.subplots(1, 2)
losses.plot(p, loss)
losses.plot(p, (1 - p) ** 2, "--")
losses.text(0.16, 2, "cross-entropy", color="C0")
losses.text(0.01, 0.08, "squared error", color="C1")
losses.set(title="loss", ylim=(0, 4), yticks=[0, 1, 2, 3, 4])
pulls.plot(p, pull)
pulls.plot(p, 2 * (1 - p) * slope, "--")
pulls.text(0.45, 0.6, "cross-entropy", color="C0")
pulls.text(0.12, 0.09, "squared error", color="C1")
pulls.set(title="pull on the logit", ylim=(0, 1))
pulls.set_yticks([0, 0.5, 1], ["0", "½", "1"])
for ax in (losses, pulls):
    ax.set(xlabel="probability of the truth")
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
