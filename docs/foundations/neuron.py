"""The 64 weights of a neuron that learns to recognise a handwritten zero, laid out like its image.
After 30 steps ink in the middle already speaks against a zero; after 300 steps a ring of ink around
the middle speaks for one.

Three grids of 8 by 8 weights, all on one colour scale: dark for weights near −1, bright for weights
near 1. At 0 steps all weights are 0. After 30 steps the middle is a little darker than the rest,
its lowest weight not yet −0.4. After 300 steps the middle is the darkest, with weights around −1;
around it lies a broken ring of brighter pixels, the brightest a little above 0.6. The outermost
columns, where few images have ink, have stayed near 0.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.neuron import Neuron

x, labels = load_digits()
target = (labels == 0).astype(np.float32)  # 1 for yes, 0 for no
neuron = Neuron(np.zeros(64, np.float32), np.zeros(1, np.float32))

fig, axes = plt.subplots(1, 3, figsize=(5.6, 2.0))
steps = 0
for ax, pause in zip(axes, [0, 30, 300], strict=True):
    while steps < pause:
        y = neuron.forward(x)
        neuron.backward((y - target) / len(x))
        for name, theta in neuron.params.items():
            theta -= neuron.grads[name]  # one step downhill
        steps += 1
    image = ax.imshow(neuron.params["weight"].reshape(8, 8), vmin=-1.25, vmax=1.25)
    ax.set(title=f"{steps} steps")
    ax.axis("off")
fig.colorbar(image, ax=axes, label="weight", ticks=[-1, 0, 1], shrink=0.8)
