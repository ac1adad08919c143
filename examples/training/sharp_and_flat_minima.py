"""Does a search for flat places find flatter ones, and are they better?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.training.sharp_and_flat_minima import SharpnessAwareMinimization, sharpness
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches

RHO = 0.2  # try 0.02, 0.6: hardly a climb, hardly flatter; flatter still, and a higher loss
EPOCHS = 8  # try 24: a lower training loss, and with it less sharpness, SAM or not
BATCH = 10  # try 100: a tenth of the steps, all far from a minimum, and sharp

print("             sharpness       training loss     unseen digits")
print("seed        plain    SAM      plain    SAM      plain    SAM")
for seed in range(3):
    shown = []
    for flat in (False, True):
        rng = np.random.default_rng(seed)
        apart, answers, x, labels = stratified_split(*load_digits(), rng=rng, test_fraction=1 / 6)
        apart, x = apart.astype(np.float64), x.astype(np.float64)
        network = mlp([64, 32, 10], rng=rng, activation=tanh, dtype=np.float64)
        optimizer = StochasticGradientDescent(network, learning_rate=0.2)
        sam = SharpnessAwareMinimization(network, optimizer, rho=RHO)
        criterion = CrossEntropy()
        for _ in range(EPOCHS):
            for batch in minibatches(len(x), BATCH, rng=rng):
                criterion.forward(network.forward(x[batch]), labels[batch])
                network.backward(criterion.backward())
                if flat:
                    sam.climb()
                    criterion.forward(network.forward(x[batch]), labels[batch])
                    network.backward(criterion.backward())
                (sam if flat else optimizer).step()
        known = criterion.forward(network.forward(x), labels)
        right = float((network.forward(apart).argmax(axis=1) == answers).mean())
        shown.append((sharpness(network, criterion, x, labels, rng=rng), known, right))
    pairs = "    ".join(f"{a:7.3f}{b:7.3f}" for a, b in zip(*shown, strict=True))
    print(f"{seed:4}      {pairs}")
