"""Does a sparse network overfit less, and does it read new digits better for it?"""

from copy import deepcopy

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_generalization import generalization, with_noise_features
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SAMPLES = 100  # try 1000: all gaps shrink; pruning still wins among useless inputs
SPARSITY = 0.9  # try 0.95: pruning wins more among useless inputs, loses more without
SEED = 0  # try 1: other numbers; pruning wins only among useless inputs


def fit(network, steps, seen, weight_decay=0.0):
    """Train for so many steps, however many samples there are."""
    optimizer = Momentum(network, learning_rate=0.1, weight_decay=weight_decay)
    again, epochs = np.random.default_rng(SEED), steps * 25 // SAMPLES
    train(network, optimizer, *seen, epochs=epochs, batch_size=25, rng=again)
    return network


for useless in (0, 256):
    rng = np.random.default_rng(SEED)
    images, labels = load_digits()
    x, y, *test = stratified_split(with_noise_features(images, useless, rng=rng), labels, rng=rng)
    seen, validation = (x[:SAMPLES], y[:SAMPLES]), (x[-200:], y[-200:])
    sizes, density = [64 + useless, 64, 10], 1 - SPARSITY
    start, width = mlp(sizes, rng=rng), round(64 * density)  # so narrow: about as few weights

    most = fit(deepcopy(start), 160, seen)
    pruned = prune_network(most, global_masks(magnitude_scores(most), SPARSITY))
    decayed = [fit(deepcopy(start), 200, seen, decay) for decay in (0.003, 0.01, 0.03)]
    print(f"{useless:3d} useless inputs       train   test    gap")
    for name, network in [
        ("dense", fit(most, 40, seen)),
        ("dense, weight decay", max(decayed, key=lambda each: accuracy(each, *validation))),
        (f"dense, {width} wide", fit(mlp([sizes[0], width, 10], rng=rng), 200, seen)),
        ("sparse at random", fit(sparse_mlp(sizes, density=density, rng=rng), 200, seen)),
        ("sparse by pruning", fit(pruned, 40, seen)),
    ]:
        found = generalization(network, seen, test)
        print(f"  {name:20s}  {found.train:6.3f} {found.test:6.3f} {found.gap:6.3f}")
