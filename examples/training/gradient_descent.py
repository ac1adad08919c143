"""How long may a step be before the way down leads up?"""

import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import GradientDescent

INK = 1.0  # try 16.0: the same images in another unit; the limit is over 200 times lower
CENTRE = False  # try True: without the mean image the limit is over ten times higher
SAMPLES = 500  # try 50: other samples, hardly another limit

images, labels = load_digits()
x = INK * images[:SAMPLES]
if CENTRE:
    x = x - x.mean(axis=0)
targets = (labels[:SAMPLES, None] == np.arange(10)).astype(np.float32)

with_bias = np.column_stack([x, np.ones(SAMPLES)])  # the bias is the weight of a constant 1
curvatures = np.linalg.eigvalsh(with_bias.T @ with_bias / SAMPLES)
limit = 2 / curvatures[-1]
flat = (curvatures < curvatures[-1] / 1000).sum()
print(f"curvature of the steepest direction: {curvatures[-1]:.4g}, so the limit is {limit:.3g}")
print(f"less than a thousandth of it: in {flat} of {len(curvatures)} directions")

print("\nrate/limit    loss after 1          10          50         200 steps")
for share in (0.01, 0.1, 0.5, 0.99, 1.01, 1.1):
    layer = Linear(np.zeros((10, 64), np.float32))
    optimizer = GradientDescent(layer, learning_rate=share * limit)
    losses = []
    for _ in range(201):
        error = layer.forward(x) - targets
        losses.append((error**2).sum() / 2 / SAMPLES)
        layer.backward(error / np.float32(SAMPLES))
        optimizer.step()
    columns = "".join(f"{losses[t]:12.3g}" for t in (10, 50, 200))
    print(f"{share:10}{losses[1]:16.3f}{columns}")
