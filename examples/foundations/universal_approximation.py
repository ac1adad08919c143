"""How close does one hidden layer come to a curve, built by hand and learned?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.regression_loss import MeanSquaredError
from lexicon.foundations.universal_approximation import interpolating_network, largest_error
from lexicon.training.momentum import Momentum

CURVE = "wave"  # try "kink", "jump": learning can win, it moves its bends; no width mends a jump
END = 1.0  # try 1.5: the network is asked beyond its last knot, and no width helps there
STEPS = 1000  # try 100: the learned networks are worse, the built ones need no training
SEED = 0  # try 1, 2: other starts, and the built network still wins from width 8 on

curve = {
    "wave": lambda x: np.sin(2 * np.pi * x),
    "kink": lambda x: np.abs(x - 1 / 3),
    "jump": lambda x: np.where(x > 1 / 3, 1.0, 0.0),
}[CURVE]
x = np.linspace(0, 1, 201)[:, None]

print("hidden    built: error   times     error anywhere       learned: largest")
print("neurons   at the knots   less   largest      mean          two starts")
before = None
for width in (4, 8, 16, 32):
    knots = np.linspace(0, 1, width + 1)
    built = interpolating_network(knots, curve(knots))
    at_knots = np.abs(built.forward(knots[:, None]) - curve(knots)[:, None]).max()
    largest = largest_error(built, curve, 0.0, END)
    everywhere = np.linspace(0, END, 10_001)[:, None]
    mean = np.abs(built.forward(everywhere) - curve(everywhere)).mean()
    learned = []
    for start in range(2):
        rng = np.random.default_rng([SEED, start])
        network = mlp([1, width, 1], rng=rng, dtype=np.float64)
        weight, bias = network.params["0.weight"], network.params["0.bias"]
        bias -= weight[:, 0] * rng.uniform(size=width)  # every kink starts somewhere in 0 to 1
        loss, optimizer = MeanSquaredError(), Momentum(network, learning_rate=0.05)
        for _ in range(STEPS):
            loss.forward(network.forward(x), curve(x))
            network.backward(loss.backward())
            optimizer.step()
        learned.append(largest_error(network, curve, 0.0, END))
    print(
        f"{width:7}{at_knots:15.4f}{before / largest if before else '':7.3}{largest:10.4f}"
        f"{mean:10.4f}{learned[0]:14.4f}{learned[1]:9.4f}"
    )
    before = largest
