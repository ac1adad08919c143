"""Which way of minimising λ Σ|w| really makes weights zero, and what is that worth?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.l1_regularization import ProximalL1, SubgradientL1
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

EPOCHS = 10  # try 3: fewer zeros at the same λ: large weights had no time to get there
BETA = 0.9  # try 0.0: steps a tenth as long, so fewer zeros; by subgradient none, as ever
SEED = 0  # try 1: another draw; by subgradient still no zero

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
print("                                                             dense, then as")
print("       --- subgradient ---   --- proximal: exact zeros ---   many cut by size")
print("λ      zero <0.001 accuracy  zero accuracy  bytes  tuned      cut   tuned")
for strength in [0.0, 0.001, 0.002, 0.004]:
    row = f"{strength:.3f} "
    for method in (SubgradientL1, ProximalL1):
        rng = np.random.default_rng(SEED)  # the same start and the same batches for all
        network = mlp([64, 64, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=0.05, beta=BETA)
        penalized = method(optimizer, network, strength=strength)
        train(network, penalized, x, labels, epochs=EPOCHS, batch_size=32, rng=rng)
        scores = magnitude_scores(network)
        sizes = np.concatenate([size.ravel() for size in scores.values()])
        row += f" {(sizes == 0).sum():4d} "
        row += f" {(sizes < 0.001).sum():5d} " if method is SubgradientL1 else ""
        row += f" {accuracy(network, x_test, labels_test):7.3f} "

    if strength == 0:
        dense = network  # trained for as long, without a penalty
    sparse = prune_network(network, {name: size > 0 for name, size in scores.items()})
    cut = prune_network(dense, global_masks(magnitude_scores(dense), (sizes == 0).mean()))
    row += f" {network_cost(sparse).weight_bytes:6d}"
    before = accuracy(cut, x_test, labels_test)
    for pruned in (sparse, cut):  # both train on for three epochs, without a penalty
        row += f"   {before:6.3f}" if pruned is cut else ""
        optimizer, rng = Momentum(pruned, learning_rate=0.05), np.random.default_rng(SEED)
        train(pruned, optimizer, x, labels, epochs=3, batch_size=32, rng=rng)
        row += f"  {accuracy(pruned, x_test, labels_test):.3f}"
    print(row)
