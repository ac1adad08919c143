"""Does a network read better when every neuron has the same number of inputs?"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.constant_fan_in import constant_fan_in
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import sample_positions
from lexicon.sparsity.sparse_initialization import sparse_he_normal
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

FAN_IN = 2  # try 1, 8: at 1 over a third of the neurons get none anywhere; at 8 all get some
HIDDEN = 64  # try 256: every pixel is read, and as large a share of neurons has no input
SEEDS = 6  # try 3: so few show hardly a gap in mean accuracy

print(f"{HIDDEN * FAN_IN} connections anywhere, or {FAN_IN} at each of {HIDDEN} neurons")
print("         no input at all       read by nobody          accuracy")
print("seed   anywhere     each     anywhere     each     anywhere    each")
table = []
for seed in range(SEEDS):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    positions = sample_positions(HIDDEN * 64, HIDDEN * FAN_IN, rng=rng)
    starts = np.searchsorted(positions, np.arange(HIDDEN + 1) * 64)
    values = sparse_he_normal(starts, rng=rng)
    anywhere = csr_array((values, positions % 64, starts), (HIDDEN, 64))
    each = constant_fan_in((HIDDEN, 64), FAN_IN, rng=rng)
    output = he_normal(HIDDEN, 10, rng=rng)

    deaf, unread, read = [], [], []
    for weight in (anywhere, each):
        rng = np.random.default_rng(seed)  # the same batches for both
        network = Sequential([CSRLinear(weight), Activation(relu), Linear(output)])
        optimizer = Momentum(network, learning_rate=0.05)
        train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
        deaf.append((np.diff(weight.indptr) == 0).sum())
        unread.append((np.bincount(weight.indices, minlength=64) == 0).sum())
        read.append(accuracy(network, x_test, labels_test))
    table.append(deaf + unread + read)
    print("{:4d} {:10d} {:8d} {:12d} {:8d} {:12.3f} {:7.3f}".format(seed, *table[-1]))
print("mean {:10.1f} {:8.1f} {:12.1f} {:8.1f} {:12.3f} {:7.3f}".format(*np.mean(table, axis=0)))
