"""What does accuracy pay when weights live and die by tiles?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.block_sparsity import BlockLinear, block_mask
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SPARSITY = 0.75  # try 0.9: accuracy falls with every step in size, and steeply
FINE_TUNE = 3  # try 6: tiles come closer, single weights have no more to gain
SEED = 0  # try 1: other accuracies, the same shares of |w|

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
dense = mlp([64, 128, 128, 10], rng=rng)
train(dense, Momentum(dense, learning_rate=0.05), x, labels, epochs=5, batch_size=64, rng=rng)
first, relu_1, second, relu_2, output = dense.layers
print(
    f"dense: 98,304 bytes of hidden weights, accuracy {accuracy(dense, x_test, labels_test):.3f}\n"
)
print("            share of              input rows   deaf         accuracy")
print("tile         |w| kept     bytes      fetched   neurons     cut   tuned")
for side in [1, 4, 8, 16]:
    layers = []
    for layer in (first, second):  # the output layer stays dense
        w, b = layer.params["weight"], layer.params["bias"]
        tiles = block_mask(np.abs(w), (side, side), SPARSITY)
        layers.append(BlockLinear.from_dense(w, tiles, b))
    stay = sum(np.abs(layer.weight.data).sum() for layer in layers)
    whole = sum(np.abs(layer.params["weight"]).sum() for layer in (first, second))
    parts = [[la.weight.data, la.weight.indices, la.weight.indptr] for la in layers]
    held = sum(array.nbytes for part in parts for array in part)
    fetched = sum(layer.weight.nnz // side for layer in layers)
    deaf = sum(side * (np.diff(layer.weight.indptr) == 0).sum() for layer in layers)

    last = Linear(output.params["weight"], output.params["bias"])
    network = Sequential([layers[0], relu_1, layers[1], relu_2, last])
    row = f"{side:2} x {side:<2} {stay / whole:14.2f} {held:9,} {fetched:12,} {deaf:9}"
    row += f" {accuracy(network, x_test, labels_test):11.3f}"
    again = np.random.default_rng(SEED)  # the same batches for every size
    tuner = Momentum(network, learning_rate=0.05)
    train(network, tuner, x, labels, epochs=FINE_TUNE, batch_size=64, rng=again)
    print(f"{row} {accuracy(network, x_test, labels_test):7.3f}")
