"""Do the connections of a sparse network show which inputs matter?"""

import numpy as np
from scipy.stats import spearmanr

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_interpretability import input_degrees, path_strengths
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

NOISE = 64  # try 0: without noise, spread alone does about as well as any weight
DECAY = 0.0  # try 0.01: weights that nothing holds shrink; pruning keeps mostly pixels
SEED = 0  # try 1: other numbers; pruned still far above random and rewired

rng = np.random.default_rng(SEED)
pixels, labels, pixels_test, labels_test = stratified_split(*load_digits(), rng=rng)
x = np.hstack([pixels, rng.random((len(pixels), NOISE), dtype=np.float32)])
x_test = np.hstack([pixels_test, rng.random((len(pixels_test), NOISE), dtype=np.float32)])

sizes, names = [64 + NOISE, 64, 10], ["dense", "pruned", "random", "rewired"]
networks = [mlp(sizes, rng=rng)] + [sparse_mlp(sizes, density=0.1, rng=rng) for _ in "123"]
for name, network in zip(names, networks, strict=True):
    if name == "pruned":
        network = prune_network(networks[0], layer_masks(magnitude_scores(networks[0]), 0.9))
        networks[1] = network
    optimizer = Momentum(network, learning_rate=0.05, weight_decay=DECAY)
    for _ in range(3 if name == "pruned" else 8):
        if name == "rewired":
            rewire_network(network, optimizer, fraction=0.3, rng=rng)
        train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)

matters = []  # how much the dense network's loss rises when one input is shuffled
for column in range(x.shape[1]):
    shuffled = x_test.copy()
    shuffled[:, column] = rng.permutation(shuffled[:, column])
    matters.append(CrossEntropy().forward(networks[0].forward(shuffled), labels_test))
spread = spearmanr(x.std(axis=0), matters)[0]
print(f"rank correlation with what matters   spread of an input: {spread:.2f}")
print("network   connections at pixels   degree   path strength")
for name, network in zip(names, networks, strict=True):
    degrees, paths = input_degrees(network.layers[0]), path_strengths(network).sum(axis=0)
    by_degree = f"{spearmanr(degrees, matters)[0]:6.2f}" if np.ptp(degrees) else "  none"
    share = degrees[:64].sum() / degrees.sum()
    print(f"{name:8}  {share:21.2f}   {by_degree}   {spearmanr(paths, matters)[0]:13.2f}")
