"""What does one mislabelled image, far too bright, do to a whole run?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.gradient_clipping import Clipping
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

MAX_NORM = 2.0  # try 0.01, 1000000.0: every step clipped and too short; none clipped, no help
BRIGHT = 1000.0  # try 1.0: a wrong label alone is harmless, with and without clipping
LEARNING_RATE = 0.05  # try 0.01: shorter steps do not save the runs without clipping

print("          accuracy                  with the clipping")
print("        without   with    median norm   largest norm   steps clipped")
for seed in range(4):
    scores = []
    for clipped in False, True:
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        x[0] *= BRIGHT  # one of 1,258 training images
        labels[0] = (labels[0] + 1) % 10

        network = mlp([64, 32, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=LEARNING_RATE)
        if clipped:
            optimizer = Clipping(network, optimizer, max_norm=MAX_NORM)
        train(network, optimizer, x, labels, epochs=8, batch_size=32, rng=rng)
        scores.append(accuracy(network, x_test, labels_test))

    norms = np.array(optimizer.norms)
    share = (norms > MAX_NORM).mean()
    print(
        f"seed {seed}  {scores[0]:.3f}   {scores[1]:.3f}"
        f"{np.median(norms):13.2f}{norms.max():15.1f}{share:16.0%}"
    )
