"""If only the largest weights are used, which of them have to be trained?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.straight_through import StraightThroughLinear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SPARSITY = 0.95  # try 0.9: with twice as many used, less is lost by training few
DECAY = 0.0  # try 0.001: more get their turn; the rows between first and last gain most
SEED = 0  # try 1: other numbers, the same order

share = 1 - SPARSITY
print(f"a layer uses the largest {share:.0%} of its weights, and trains")
print("the largest   ever trained   FLOPs, dense is 100%   accuracy")
for largest in [share, 2 * share, 4 * share, 1.0]:
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    layers = mlp([64, 64, 10], rng=rng).layers  # the same every time
    hidden, output = (
        StraightThroughLinear(linear, SPARSITY, backward_sparsity=1 - largest, weight_decay=DECAY)
        for linear in layers[::2]
    )
    network = Sequential([hidden, Activation(relu), output])
    optimizer, ever = Momentum(network, learning_rate=0.1), np.zeros((64, 64), dtype=bool)
    for _ in range(8):
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
        ever |= hidden.trained  # looked at once an epoch

    used, trained, all_weights = hidden.used.sum(), hidden.trained.sum(), ever.size
    needed = (2 * used + 2 * used + 2 * trained) / (6 * all_weights)  # y, dx and dW
    read = accuracy(network, x_test, labels_test)
    print(f"{largest:11.0%}   {ever.mean():12.1%}   {needed:20.1%}   {read:8.3f}")
