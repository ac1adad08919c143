"""Every pixel and every neuron has a price: how many does a network pay for?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.l0_regularization import HardConcrete, fold_gates
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy, train

START = 2.0  # try 8.0: so far open that no slope reaches the gates, and none closes
RATE = 10.0  # try 0.1: gates learn as slowly as weights, and none closes in ten epochs
SEED = 0  # try 1: other numbers, the same trend

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, 64, 10], rng=np.random.default_rng(SEED))
train(dense, Momentum(dense, learning_rate=0.1), x, labels, epochs=10, batch_size=64, rng=rng)
loss = CrossEntropy()

print("                                  gates            magnitude")
print("price  pixels  neurons  weights   pruned   tuned   pruned   tuned")
for price in [0.0, 0.004, 0.016, 0.032, 0.064]:
    plain = mlp([64, 64, 10], rng=np.random.default_rng(SEED))
    start = np.full(64, START, dtype=np.float32)
    pixels, neurons = (HardConcrete(start, penalty=price, rng=rng) for _ in range(2))
    gated = Sequential([pixels, *plain.layers[:2], neurons, plain.layers[2]])
    weights_step = Momentum(plain, learning_rate=0.1).step
    gates_step = Momentum(Sequential([pixels, neurons]), learning_rate=RATE).step
    for batch in (b for _ in range(10) for b in minibatches(len(x), 64, rng=rng)):
        loss.forward(gated.forward(x[batch]), labels[batch])
        gated.backward(loss.backward())
        weights_step()
        gates_step()
    use, feed = neurons.gates > 0, pixels.gates > 0
    masks = {"0.weight": np.outer(use, feed), "2.weight": np.tile(use, (10, 1))}
    left = sum(int(mask.sum()) for mask in masks.values())
    row = f"{price:5.3f}{feed.sum():8d}{use.sum():9d}{left:9d}"
    largest = global_masks(magnitude_scores(dense), 1 - left / 4736)  # as many
    for net in (prune_network(fold_gates(gated), masks), prune_network(dense, largest)):
        row += f"{accuracy(net, x_test, labels_test):9.3f}"
        tuner = Momentum(net, learning_rate=0.1)
        train(net, tuner, x, labels, epochs=3, batch_size=64, rng=rng)
        row += f"{accuracy(net, x_test, labels_test):8.3f}"
    print(row)
