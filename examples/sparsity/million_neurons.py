"""What does a network of a million neurons cost to train?"""

from itertools import pairwise

import numpy as np

from lexicon.data import load_digits
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.erdos_renyi import epsilon_counts
from lexicon.sparsity.million_neurons import training_cost, wide_mlp, wide_sizes
from lexicon.training.momentum import Momentum

EPSILON = 5  # try 20: almost four times the weights and FLOPs, the same activations
SAMPLES = 128  # try 16: now the weights outweigh the activations
TRAINED = 3000  # try 30000: about ten times the bytes, and the loss falls as well

print("   neurons  connections   dense weights   in training   activations   GFLOPs")
for neurons in (1_000, 10_000, 100_000, 1_000_000, 3_000_000):
    sizes = wide_sizes(neurons, inputs=64)
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
    counts = epsilon_counts(shapes, EPSILON)
    dense = sum(4 * n_out * n_in for n_out, n_in in shapes) / 1e6
    *parameters, activations, flops = training_cost(sizes, counts, SAMPLES)
    print(
        f"{neurons:10,d} {sum(counts):12,d} {dense:12,.1f} MB {sum(parameters) / 1e6:10.1f} MB"
        f" {activations / 1e6:10.1f} MB {flops / 1e9:8.2f}"
    )

rng = np.random.default_rng(0)
sizes = wide_sizes(TRAINED, inputs=64)
counts = epsilon_counts([(n_out, n_in) for n_in, n_out in pairwise(sizes)], EPSILON)
network = wide_mlp(sizes, counts, rng=rng)
optimizer, loss = Momentum(network, learning_rate=0.01), CrossEntropy()
images, labels = load_digits()
losses = []
for _ in range(4):
    losses.append(loss.forward(network.forward(images[:SAMPLES]), labels[:SAMPLES]))
    network.backward(loss.backward())
    optimizer.step()

layers = network.layers[::2]
held = sum(layer.weight.indices.nbytes + layer.weight.indptr.nbytes for layer in layers)
for arrays in (network.params, network.grads, optimizer.velocity):
    held += sum(array.nbytes for array in arrays.values())
counted = sum(training_cost(sizes, counts, SAMPLES)[:4])
print(f"\n{TRAINED:,d} neurons trained: {held:,d} bytes held, {counted:,d} counted")
print("loss of the same batch, step by step: " + "  ".join(f"{value:.2f}" for value in losses))
