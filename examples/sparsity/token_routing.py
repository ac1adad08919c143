"""Who does the work when nobody looks after the balance?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.token_routing import LoadBalance, RoutedMixture
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

STRENGTH = 0.1  # try 1.0, 10.0: spreads best, reads worse with this seed; few get everything again
FACTOR = 1.25  # try 1.0, 8.0: less room drops more; at 8 every expert has room for all
SEED = 0  # try 1: other images, the same story

print("              % of the choices that fall on expert")
print("strength      0   1   2   3   4   5   6   7   balance  dropped  accuracy")
for strength in (0.0, STRENGTH):
    rng = np.random.default_rng(SEED)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    views = np.stack([rng.permutation(64) for _ in range(4)])  # four ways to shuffle pixels
    x = np.take_along_axis(x, views[rng.integers(4, size=len(x))], axis=1)
    x_test = np.take_along_axis(x_test, views[rng.integers(4, size=len(x_test))], axis=1)

    balance = LoadBalance(strength, k=1)
    gate = Sequential([Linear(he_normal(64, 8, rng=rng)), balance])
    experts = [mlp([64, 8, 10], rng=rng) for _ in range(8)]
    mixture = RoutedMixture(gate, experts, k=1, factor=FACTOR)
    optimizer = Momentum(mixture, learning_rate=0.1)
    train(mixture, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)

    read = accuracy(mixture, x_test, labels_test)
    chosen = top_k(gate.forward(x_test), 1)  # before any is dropped
    load = "".join(f"{100 * share:4.0f}" for share in chosen.mean(axis=0))
    dropped = f"{100 * mixture.dropped / len(x_test):5.0f} %"
    print(f"{strength:8.2f}   {load}   {balance.loss:7.2f}  {dropped}  {read:8.3f}")
