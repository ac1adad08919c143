"""Does a sparse network read better if its connections may move while it learns?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

FRACTION = 0.3  # try 0.0, 1.0: 0 is static twice; 1 moves all of them, and nothing is learned
DENSITY = 0.03  # try 0.2: with connections to spare it hardly matters which ones there are
SEED = 0  # try 1: other numbers, the same story

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
static = sparse_mlp([64, 256, 10], density=DENSITY, rng=np.random.default_rng(SEED))
moving = sparse_mlp([64, 256, 10], density=DENSITY, rng=np.random.default_rng(SEED))  # the same
optimizers = {network: Momentum(network, learning_rate=0.05) for network in (static, moving)}
rng = np.random.default_rng(SEED)

ever = [set(), set()]  # the positions that were tried so far, in each layer
print("epoch  static  rewired  connections  positions tried")
for epoch in range(1, 13):
    for network, optimizer in optimizers.items():
        batches = np.random.default_rng(epoch)  # the same for both
        train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=batches)
    for layer, tried in zip(moving.layers[::2], ever, strict=True):
        tried.update(layer.positions.tolist())
    if epoch % 2 == 0 or epoch == 1:
        count = sum(layer.weight.nnz for layer in moving.layers[::2])
        reads = [accuracy(network, x_test, labels_test) for network in (static, moving)]
        print(
            f"{epoch:5d}  {reads[0]:6.3f}  {reads[1]:7.3f}  {count:11d}  {sum(map(len, ever)):15d}"
        )
    rewire_network(moving, optimizers[moving], fraction=FRACTION, rng=rng)
