"""Which learning rate does one short run suggest, and is it a good one?"""

from copy import deepcopy

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.learning_rate_finder import sweep_rates
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

HIDDEN = 4  # try 1: a shallow network bears higher rates, and gets them suggested
BETA = 0.9  # try 0.0: without momentum the suggestions are higher, and less reliable
STEPS = 200  # try 800: a slower sweep of the same network suggests lower rates
FIRST_SEED = 10  # try 20: other splits and networks, rates of the same order

print("           falls fastest        is lowest        a tenth of that")
print("seed      rate  accuracy     rate  accuracy     rate  accuracy")
for seed in range(FIRST_SEED, FIRST_SEED + 3):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, *[32] * HIDDEN, 10], rng=rng)
    sweep = sweep_rates(
        network,
        lambda copy: Momentum(copy, learning_rate=1.0, beta=BETA),  # the sweep sets the rate
        x,
        labels,
        batch_size=32,
        steps=STEPS,
        rng=rng,
    )
    line = f"{seed:4}"
    for rate in (sweep.suggestion, sweep.minimum, sweep.minimum / 10):
        trained = deepcopy(network)
        optimizer = Momentum(trained, learning_rate=rate, beta=BETA)
        train(trained, optimizer, x, labels, epochs=4, batch_size=32, rng=rng)
        line += f"{rate:10.3f}{accuracy(trained, x_test, labels_test):7.2f}"
    print(line)
