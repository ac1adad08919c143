"""Is the mean of many noisy networks better than each of them?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.weight_averaging import ExponentialMovingAverage, StochasticWeightAveraging

LEARNING_RATE = 0.3  # try 0.02: little noise, still on the way, so the means only lag behind
DECAY = 0.98  # try 0.0, 0.999: no memory, the network itself; so long that it is the plain mean
START = 4  # try 0: the means take in the first, bad points, and the plain one keeps them
SEED = 0  # try 5: the last epoch is a bad one, and the means hardly feel it

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng, test_fraction=0.5)
network = mlp([64, 32, 10], rng=rng)
optimizer = StochasticGradientDescent(network, learning_rate=LEARNING_RATE)
criterion = CrossEntropy()

print("loss on unseen digits")
print("epoch   the network itself   fading mean (EMA)   plain mean (SWA)")
for epoch in range(1, 11):
    if epoch == START + 1:  # from here on every step is averaged
        ema = ExponentialMovingAverage(network, decay=DECAY)
        swa = StochasticWeightAveraging(network)
    for batch in minibatches(len(x), 16, rng=rng):
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        optimizer.step()
        if epoch > START:
            ema.update()
            swa.update()
    shown = [network, ema.average, swa.average] if epoch > START else [network]
    losses = [criterion.forward(some.forward(x_test), labels_test) for some in shown]
    print(f"{epoch:5}{losses[0]:17.3f}" + "".join(f"{loss:20.3f}" for loss in losses[1:]))
