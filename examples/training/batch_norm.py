"""What does batch norm buy a deep stack, and what if it stays in training mode?"""

import copy

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

DEPTH = 8  # try 1: with a single hidden layer the plain network learns at this rate too
LEARNING_RATE = 0.3  # try 0.03: a rate that the plain stack bears
MOMENTUM = 0.1  # try 0.001: running averages that lag behind spoil the network in use
SEED = 0  # try 2: another draw, the same story

for name in ("plain", "batch norm"):
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    layers, n_in = [], 64
    for _ in range(DEPTH):
        norm = [BatchNorm(32, momentum=MOMENTUM)] if name == "batch norm" else []
        layers += [Linear(he_normal(n_in, 32, rng=rng)), *norm, Activation(relu)]
        n_in = 32
    network = Sequential([*layers, Linear(he_normal(n_in, 10, rng=rng))])
    optimizer = StochasticGradientDescent(network, learning_rate=LEARNING_RATE)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    print(f"{name:10}  test digits read right: {accuracy(network, x_test, labels_test):.3f}")

mixed, by_class = rng.permutation(len(x_test)), np.argsort(labels_test, kind="stable")
groups = {
    "all in one batch": [mixed],
    "five at a time, mixed": np.array_split(mixed, 108),
    "one class at a time": np.array_split(by_class, 10),
}
print("the same digits, batch norm:     in use   in training mode")
for name, batches in groups.items():
    with evaluating(network):
        use = [network.forward(x_test[batch]).argmax(axis=1) for batch in batches]
    kept = copy.deepcopy(network)
    train_mode = [kept.forward(x_test[batch]).argmax(axis=1) for batch in batches]
    truth = labels_test[np.concatenate(batches)]
    shares = [(np.concatenate(answers) == truth).mean() for answers in (use, train_mode)]
    print(f"  {name:24s}{shares[0]:13.3f}{shares[1]:19.3f}")
after = accuracy(kept, x_test, labels_test)
print(f"in use, after that look in training mode: {after:.3f}")
