"""The ten scores of one handwritten 1, which a linear classifier might take for a 6, at three
temperatures. The lower the temperature, the more goes to the largest score; the higher, the nearer
all come to a tenth (dotted), but their order stays.

Three bar charts of probability against digit. At T = 0.2 digit 1 has about nine tenths and digit
6 the rest. At T = 1 digit 1 has nearly a half, digit 6 nearly a third, and the others share
what is left. At T = 5 every digit has something, from about 0.06 to 0.17, and digit 1 is still
ahead of digit 6. A small picture shows the handwritten digit: an upright stroke with a foot.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.softmax import softmax
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train
from lexicon.training.weight_initialization import glorot_uniform

rng = np.random.default_rng(0)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
classifier = Linear(glorot_uniform(64, 10, rng=rng))
optimizer = StochasticGradientDescent(classifier, learning_rate=0.1)
train(classifier, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)

logits = classifier.forward(x_test)
sample = np.argsort(softmax(logits).max(axis=1), kind="stable")[100]  # rather doubtful

fig, axes = plt.subplots(1, 3, sharey=True)
for ax, temperature in zip(axes, [0.2, 1, 5], strict=True):
    ax.bar(range(10), softmax(logits[sample], temperature=temperature))
    ax.axhline(0.1, color="black", linestyle=":")
    ax.set(title=f"T = {temperature}", xticks=range(10), ylim=(0, 1), yticks=[0, 0.5, 1])
axes[0].set(ylabel="probability")
axes[1].set(xlabel="digit")
picture = axes[2].inset_axes([0.35, 0.45, 0.6, 0.55])
ink = x_test[sample].reshape(8, 8)
picture.imshow(np.where(ink > 0, ink, np.nan))
picture.axis("off")
