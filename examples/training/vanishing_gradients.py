"""How much gradient reaches the first of twenty layers, and can the stack learn from it?"""

import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train
from lexicon.training.vanishing_gradients import gradient_sizes, layer_factor

ACTIVATION = "sigmoid"  # try "tanh", "relu": tanh fades slowly; relu fades too, at this GAIN
GAIN = 1.0  # try 4.0: larger weights amplify, but drive sigmoids to where they are flat
NORM = "none"  # try "layer", "batch": layer norm is no cure here, batch norm is
DEPTH = 20  # try 2: the same factor, a single time: the loss begins to fall

rng = np.random.default_rng(0)
x, labels = load_digits()
f = {"sigmoid": sigmoid, "tanh": tanh, "relu": relu}[ACTIVATION]
norm = {"none": None, "layer": LayerNorm, "batch": BatchNorm}[NORM]
layers, n_in = [], 64
for n_out in [32] * DEPTH + [10]:
    layers.append(Linear(rng.normal(0, GAIN / n_in**0.5, (n_out, n_in)).astype(np.float32)))
    layers += ([norm(32)] if norm else []) + [Activation(f)] if n_out == 32 else []
    n_in = n_out
network, loss = Sequential(layers), CrossEntropy()
sizes = gradient_sizes(network, x, lambda z: (loss.forward(z, labels), loss.backward())[1])
sizes = list(sizes.values())
print("layer   gradient of its outputs   of its weights")
for i in sorted({0, DEPTH // 3, 2 * DEPTH // 3, DEPTH - 1}):
    print(f"{i + 1:5}{sizes[i].output:26.0e}{sizes[i].weight:17.0e}")
measured = (sizes[0].output / sizes[DEPTH - 1].output) ** (1 / (DEPTH - 1))

z, slopes = x, []
for layer in layers:
    if isinstance(layer, Activation):
        slopes.append(f(z)[1])
    z = layer.forward(z)
weights = [theta for name, theta in network.params.items() if name.endswith("weight")][1:-1]
factors = [layer_factor(*pair) for pair in zip(weights, slopes[:-1], strict=True)]
predicted = np.prod(factors) ** (1 / (DEPTH - 1))
print(f"factor for each layer: {measured:.2f}; from weights and slopes alone: {predicted:.2f}")

optimizer = Momentum(network, learning_rate=0.02)
history = train(network, optimizer, x, labels, epochs=4, batch_size=32, rng=rng)
print("loss, epoch by epoch: " + ", ".join(f"{epoch.loss:.2f}" for epoch in history))
