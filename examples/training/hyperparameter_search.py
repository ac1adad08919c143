"""The same number of trials: on a grid or at random?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.hyperparameter_search import grid, log_uniform, sample, search
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

VALUES = 3  # try 2: a grid with two rates can miss badly; 8 trials at random still have 8
IDLE = 2  # try 0: nothing but the rate to choose, three trials: now the grid is ahead
CHOOSES = 60  # try 10: when ten digits choose, their winner looks better than it is

digits = load_digits()
rng = np.random.default_rng(0)


def trained(learning_rate, decay=0.0, bias=0.0):
    """Train briefly; the biases start at `bias`."""
    network = mlp([64, 16, 10], rng=np.random.default_rng(0))
    network.params["0.bias"][:] = bias
    optimizer = Momentum(network, learning_rate=learning_rate, weight_decay=decay)
    train(network, optimizer, x, labels, epochs=4, batch_size=32, rng=np.random.default_rng(0))
    return network


def score(**settings):
    """Measure on the digits that choose."""
    return accuracy(trained(**settings), rest[:CHOOSES], truth[:CHOOSES])


print("                rates     best   accuracy on the   on unused")
print("        trials  tried     rate   digits that chose    digits")
for _ in range(3):
    x, labels, rest, truth = stratified_split(*digits, rng=rng, test_fraction=0.85)
    low = 10 ** rng.uniform(-5, -2)  # five decades of rates, a good one somewhere inside
    spans = {"learning_rate": (low, 1e5 * low), "decay": (1e-7, 1e-3), "bias": (1e-4, 1e-2)}
    spans = {name: spans[name] for name in list(spans)[: 1 + IDLE]}
    middles = (np.arange(VALUES) + 0.5) / VALUES  # evenly spread in the logarithm
    even = grid({name: a * (b / a) ** middles for name, (a, b) in spans.items()})
    drawn = {name: log_uniform(a, b) for name, (a, b) in spans.items()}
    for kind, candidates in ("grid", even), ("random", sample(drawn, len(even), rng=rng)):
        best = search(score, candidates)[0]
        rates = len({settings["learning_rate"] for settings in candidates})
        unused = accuracy(trained(**best.settings), rest[CHOOSES:], truth[CHOOSES:])
        row = f"{kind:8s}{len(candidates):6d}{rates:7d}{best.settings['learning_rate']:9.2g}"
        print(f"{row}{best.score:19.3f}{unused:11.3f}")
