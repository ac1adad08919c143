"""Each dot is one batch of digits. Four times the batch halves the noise of its gradient; dealt
without putting back, a batch of nearly all samples does better than that, and all have no noise.

Noise against batch size, both on logarithmic axes. The noise is the distance of a batch's gradient
from the exact one, relative to the exact one's length. Twenty batches of each size scatter around a
line that falls from about eight at one sample to about one at 64 and a half at 256. There the line
for batches dealt without putting back parts from the straight one for samples drawn independently,
σ/√B, and drops to nothing at the batch of all 1,797 digits.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.linear_layer import Linear
from lexicon.training.stochastic_gradient_descent import minibatches

rng = np.random.default_rng(0)
x, labels = load_digits()
n = len(x)
network, criterion = Linear(np.zeros((10, 64), np.float32)), CrossEntropy()
criterion.forward(network.forward(x), labels)
each = n * criterion.backward()[:, :, None] * x[:, None, :]  # the gradient of every sample
exact = each.mean(axis=0)
length = np.linalg.norm(exact)
sigma = np.linalg.norm(each - exact) / n**0.5 / length

fig, ax = plt.subplots()
for size in (1, 4, 16, 64, 256, 1024, 1600):
    noise = []
    for _ in range(20):
        batch = next(minibatches(n, size, rng=rng))
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        noise.append(np.linalg.norm(network.grads["weight"] - exact) / length)
    ax.plot([size] * 20, noise, "o", color="C0", markersize=3, alpha=0.5)
sizes = np.append(np.geomspace(1, 1790, 60), n - 1)
ax.loglog(sizes, sigma / np.sqrt(sizes), "--", color="C1")
ax.loglog(sizes, sigma / np.sqrt(sizes) * np.sqrt((n - sizes) / (n - 1)), color="C0")
ax.text(330, 0.6, "drawn independently:\nσ/√B", color="C1")
ax.text(580, 0.06, "dealt without\nputting back", color="C0", ha="right")
ax.minorticks_off()
ax.set(xlabel="batch size B, in samples", xticks=[1, 4, 16, 64, 256, n])
ax.set(xticklabels=["1", "4", "16", "64", "256", "all"])
ax.set(ylabel="noise of the gradient", ylim=(0.03, 15))
ax.set(yticks=[0.1, 1, 10], yticklabels=["0.1", "1", "10"])
