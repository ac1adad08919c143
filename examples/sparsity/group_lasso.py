"""Which penalty removes whole neurons, and what is the smaller network worth?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.group_lasso import ProximalGroupLasso
from lexicon.sparsity.l1_regularization import ProximalL1
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

HIDDEN = 64  # try 32: fewer neurons to begin with, fewer left at every λ
EPOCHS = 10  # try 20: longer under the penalty, fewer neurons left
SEED = 0  # try 1: another draw; at λ = 0.001 L1 again removes no neuron

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
test = x_test, labels_test
print("       -------- L1 ---------  ---- group lasso -----  and its  5 epochs   narrow")
print("λ      neurons weights acc.   neurons weights acc.   dead cut  without  network")
for strength in [0.0, 0.001, 0.002, 0.004]:
    row = f"{strength:.3f}"
    for method in (ProximalL1, ProximalGroupLasso):  # both of the hidden layer only
        rng = np.random.default_rng(SEED)
        network = mlp([64, HIDDEN, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=0.05)
        penalized = method(optimizer, network, strength=strength, names=["0.weight"])
        train(network, penalized, x, labels, epochs=EPOCHS, batch_size=32, rng=rng)
        w, b, w_out, b_out = network.params.values()
        alive = w.any(axis=1)
        row += f"  {alive.sum():7d} {(w != 0).sum():7d} {accuracy(network, *test):.3f}"

    says = relu(b[~alive])[0]  # what the dead neurons still say, whatever the input
    layers = [Linear(w[alive], b[alive]), Activation(relu)]
    small = Sequential([*layers, Linear(w_out[:, alive], b_out + w_out[:, ~alive] @ says)])
    row += f"  {accuracy(small, *test):6.3f}"
    narrow = mlp([64, alive.sum(), 10], rng=rng)  # as wide from the start, trained as long
    for dense, epochs in ((small, 5), (narrow, EPOCHS + 5)):
        optimizer = Momentum(dense, learning_rate=0.05)
        train(dense, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
        row += f"  {accuracy(dense, *test):7.3f}"
    print(row)
