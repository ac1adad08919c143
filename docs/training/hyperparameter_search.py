"""Nine trials each. Below, where they lie; above, what they score, which depends on the learning
rate alone. The grid asks three times about each of three rates, random trials about nine.

Two panels side by side, each a square under a curve. The squares have the learning rate across,
from 0.0001 to 1, and the weight decay upwards, both logarithmic. The curve is the score, a single
narrow hill over the learning rate. On the left the nine points form a regular grid of three
columns; lines lead them up to only three points on the curve, two at the foot of the hill and one
on its side. On the right nine scattered points lead to nine points on the curve. Most are at the
foot of the hill, and one is higher on its side than any of the grid's.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.training.hyperparameter_search import grid, log_uniform, sample, search


def score(rate, decay):
    """Draw a hill over the rate, with its top at 0.1; the decay does not matter."""
    return np.exp(-(((np.log10(rate) + 1.0) / 0.35) ** 2)) + 0.05


rates, decays = 10 ** (-4 + 4 * np.array([1, 3, 5]) / 6), 10 ** (-7 + 4 * np.array([1, 3, 5]) / 6)
ranges = {"rate": log_uniform(1e-4, 1), "decay": log_uniform(1e-7, 1e-3)}
fig, axes = plt.subplots(
    2, 2, figsize=(5.6, 3.8), sharex=True, sharey="row", height_ratios=[1, 1.6]
)
for column, name, candidates in [
    (0, "grid", grid({"rate": rates, "decay": decays})),
    (1, "random", sample(ranges, 9, rng=np.random.default_rng(5))),
]:
    above, below = axes[:, column]
    curve = np.geomspace(1e-4, 1, 200)
    above.plot(curve, score(curve, 0), "C0")
    for trial in search(score, candidates):
        rate, decay = trial.settings["rate"], trial.settings["decay"]
        below.plot([rate, rate], [decay, 2e-3], "C1:", linewidth=0.9)
        above.plot([rate, rate], [0, trial.score], "C1:", linewidth=0.9)
        below.plot(rate, decay, "C1o", markersize=5)
        above.plot(rate, trial.score, "C1o", markersize=5)
    above.set(title=name, ylim=(0, 1.2), yticks=[])
    below.set(xscale="log", yscale="log", xlabel="learning rate", ylim=(6e-8, 2e-3))
    below.set(xticks=[1e-4, 1e-2, 1], xticklabels=["0.0001", "0.01", "1"])
    below.set(yticks=[1e-7, 1e-5, 1e-3])
    below.minorticks_off()
axes[0, 0].set(ylabel="score")
axes[1, 0].set(ylabel="weight decay")
