"""How many gradients become 0 in float16, and what does a scaled loss save?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.training.mixed_precision import HalfPrecision, LossScaling
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

EPOCHS = 20  # try 0: an untrained network has larger gradients: fewer vanish, more overflow
START = 24  # try 0: the run below starts at a scale that is not too large, and skips no step
GROWTH = 40  # try 5: the scale doubles too eagerly, and more steps are skipped

rng = np.random.default_rng(0)
x, labels = load_digits()
network = mlp([64, 32, 10], rng=rng)
if EPOCHS:
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=EPOCHS, batch_size=32, rng=rng)
criterion = CrossEntropy()
criterion.forward(network.forward(x[:64]), labels[:64])
dlogits = criterion.backward()
network.backward(dlogits)
truth = np.concatenate([gradient.ravel() for gradient in network.grads.values()])

print("loss scale    became 0    overflowed    error of the whole gradient")
for exponent in (-16, -8, 0, 8, 16, 24):
    half = HalfPrecision(network, scale=2.0**exponent)
    half.forward(x[:64])
    half.backward(dlogits)
    found = np.concatenate([gradient.ravel() for gradient in half.grads.values()])
    zero = (found[truth != 0] == 0).mean()
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    shown = f"{error:.2%}" if np.isfinite(error) else "useless"
    print(f"{f'2^{exponent}':>10}{zero:12.1%}{(~np.isfinite(found)).mean():14.1%}{shown:>18}")

half = HalfPrecision(mlp([64, 32, 10], rng=rng), scale=2.0**START)
optimizer = LossScaling(half, Momentum(half, learning_rate=0.05), growth_interval=GROWTH)
history = train(half, optimizer, x, labels, epochs=2, batch_size=32, rng=rng)
print(f"\ntrained from scratch in float16, from 2^{START} on: loss {history[-1].loss:.2f},")
print(f"{optimizer.skipped} steps skipped, scale 2^{np.log2(half.scale):.0f} in the end")
