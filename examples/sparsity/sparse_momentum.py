"""Which layer should the connections go to, and who decides?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.erdos_renyi import erdos_renyi, uniform
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_momentum import mean_momentum, rewire_by_momentum
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

START = "uniform"  # try "erdos_renyi": a better division leaves less to mend
FRACTION = 0.3  # try 0.0: nothing moves, and the two networks are one
DENSITY = 0.05  # try 0.2: with connections to spare a poor division hurts less
SEED = 0  # try 1: other numbers, the same story

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
counts = {"uniform": uniform, "erdos_renyi": erdos_renyi}[START](
    [(256, 64), (32, 256), (10, 32)], DENSITY
)
apart, pooled = networks = [
    mlp_of_counts([64, 256, 32, 10], counts, rng=np.random.default_rng(SEED)) for _ in range(2)
]
optimizers = [Momentum(network, learning_rate=0.1) for network in networks]
rng = np.random.default_rng(SEED)

print("        connections of layer      mean momentum of layer    accuracy")
print("epoch      0     1     2  total       0      1      2        SET  pooled")
for epoch in range(1, 11):
    for network, optimizer in zip(networks, optimizers, strict=True):
        batches = np.random.default_rng(epoch)  # the same for both
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=batches)
    sizes = [layer.weight.nnz for layer in pooled.layers[::2]]
    momenta = mean_momentum(pooled, optimizers[1]).values()
    reads = [accuracy(network, x_test, labels_test) for network in networks]
    if epoch in (1, 2, 3, 4, 6, 8, 10):
        print(f"{epoch:5d}  ", *(f"{n:5d}" for n in [*sizes, sum(sizes)]), end="  ")
        print(*(f"{m:6.3f}" for m in momenta), "    {:.3f}   {:.3f}".format(*reads))
    share = cosine_fraction(epoch, end=8, initial=FRACTION)
    rewire_network(apart, optimizers[0], fraction=share, rng=rng)
    rewire_by_momentum(pooled, optimizers[1], fraction=share, rng=rng)
