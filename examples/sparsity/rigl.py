"""Should a new connection grow anywhere, or where the gradient asks for one?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction, rewire_by_gradient, rigl_flops
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

DENSITY = 0.02  # try 0.1: with connections to spare, all three read nearly alike
FRACTION = 0.3  # try 0.0: nothing moves, and the three networks are one
BATCH = 64  # try 1: one sample's gradient is a worse guide, and still far better than none
SEED = 0  # try 1: other numbers, the same story

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
networks = [
    sparse_mlp([64, 256, 10], density=DENSITY, rng=np.random.default_rng(SEED)) for _ in range(3)
]
optimizers = [Momentum(network, learning_rate=0.1) for network in networks]
rng = np.random.default_rng(SEED)

print("                 accuracy                hidden neurons in use")
print("epoch  moved   static    SET   RigL     static  SET  RigL")
for epoch in range(1, 11):
    for network, optimizer in zip(networks, optimizers, strict=True):
        batches = np.random.default_rng(epoch)  # the same for all three
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=batches)
    reads = [accuracy(network, x_test, labels_test) for network in networks]
    in_use = []  # connected on both sides
    for network in networks:
        first, last = network.layers[0].weight, network.layers[2].weight
        hears, speaks = np.diff(first.indptr) > 0, np.bincount(last.indices, minlength=256) > 0
        in_use.append((hears & speaks).sum())
    share = cosine_fraction(epoch, end=8, initial=FRACTION)
    if epoch in (1, 2, 3, 4, 6, 8, 10):
        print(f"{epoch:5d}  {share:5.2f}", ("   {:.3f}" + 2 * "  {:.3f}").format(*reads), end="")
        print(("   {:8d}" + 2 * " {:4d}").format(*in_use))
    _, random, rigl = networks
    batch = batches.choice(len(x), BATCH, replace=False)
    rewire_network(random, optimizers[1], fraction=share, rng=rng)
    rewire_by_gradient(rigl, optimizers[2], x[batch], labels[batch], fraction=share)

f_s, f_d = 2 * sum(layer.weight.nnz for layer in rigl.layers[::2]), 2 * (64 * 256 + 256 * 10)
flops = rigl_flops(f_s, f_d, interval=22)  # an epoch has 22 steps
print(f"FLOPs of a step and sample: static and SET {3 * f_s}, RigL {flops:.0f}")
