"""Digits enter an untrained network of 10 % density from the left, a random gradient from the
right. With the dense rule either loses nine tenths of its mean square in every layer; with the real
fan-in it arrives about as strong as it set out.

Two panels, mean square on a logarithmic axis against the layer, 0 to 5, each relative to where it
starts; bands over five seeds are hardly wider than the lines. The signal starts at layer 0: with
the dense rule it falls on a straight line to a hundred-thousandth, with the real fan-in it stays
near 1. The gradient starts at layer 5: with the dense rule it falls on a straight line to a
ten-thousandth at layer 1, with the real fan-in it stays near 1. On the last step, from 200 neurons
back to 64 pixels, there is a bend upwards, by a factor of three with the real fan-in.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_initialization import sparse_he_normal

DENSITY = 0.1
x = load_digits()[0][:200]
sizes = [64, 200, 200, 200, 200, 200, 10]
counts = [round(DENSITY * sizes[i] * sizes[i + 1]) for i in range(6)]

fig, axes = plt.subplots(1, 2, sharey=True)
for rule, style, marker in [("real fan-in", "C0-", "o"), ("dense rule", "C1--", "s")]:
    signals, gradients = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        network = mlp_of_counts(sizes, counts, rng=rng)
        for layer in network.layers[::2]:
            weight = sparse_he_normal(layer.weight.indptr, rng=rng)
            if rule == "dense rule":  # as if every input were connected
                fan_in = np.diff(layer.weight.indptr)
                weight *= np.repeat(np.sqrt(fan_in / layer.weight.shape[1]), fan_in)
            layer.params["weight"][:] = weight
        signal = [x]
        for layer in network.layers:
            signal.append(layer.forward(signal[-1]))
        gradient = [rng.standard_normal(signal[-1].shape, dtype=np.float32)]
        for layer in network.layers[::-1]:
            gradient.insert(0, layer.backward(gradient[0]))
        signals.append([np.mean(h**2) / np.mean(x**2) for h in signal[:-1:2]])
        gradients.append([np.mean(dh**2) / np.mean(gradient[-2] ** 2) for dh in gradient[:-1:2]])
    for ax, squares in zip(axes, [signals, gradients], strict=True):
        ax.semilogy(np.mean(squares, axis=0), style, marker=marker, markersize=4)
        ax.fill_between(
            range(6), np.min(squares, axis=0), np.max(squares, axis=0), color=style[:2], alpha=0.3
        )
        ax.text(2.5, 2 if rule == "real fan-in" else 1e-4, rule, color=style[:2], ha="center")
for ax, name in zip(axes, ["signal →", "← gradient"], strict=True):
    ax.set(title=name, xlabel="layer", xticks=range(6), yticks=[1, 1e-2, 1e-4])
    ax.minorticks_off()
axes[0].set_ylabel("mean square")
