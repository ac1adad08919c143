"""How much of what a removed weight did can the others take over?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.optimal_brain_surgeon import obd_scores, surgeon_network
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SAMPLES = 1000  # try 32: fewer samples than inputs, and at 0.90 still far ahead
DAMPING = 0.01  # try 1000.0: the others cannot move, and what remains is magnitude
SEED = 0  # try 1: another network, the same story

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 64, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)
seen = x[:SAMPLES]
print(f"dense {accuracy(network, x_test, labels_test):.3f}, pruned without fine-tuning:\n")

hidden = network.layers[0]
scores = {"magnitude": magnitude_scores(network), "OBD": obd_scores(network, seen)}
print("             accuracy                            error of the hidden layer")
print("sparsity     magn.    OBD  OBS's mask    OBS     magn.    OBD  OBS's mask    OBS")
for sparsity in (0.5, 0.8, 0.9):
    surgeon = surgeon_network(network, seen, sparsity, damping=DAMPING)
    masks = {n: np.zeros(network.params[n].shape, dtype=bool) for n in scores["OBD"]}
    for mask, layer in zip(masks.values(), surgeon.layers[::2], strict=True):
        mask.ravel()[layer.positions] = True
    pruned = [prune_network(network, layer_masks(s, sparsity)) for s in scores.values()]
    pruned += [prune_network(network, masks), surgeon]
    print(f"{sparsity:8.2f}   ", end="")
    read = [accuracy(p, x_test, labels_test) for p in pruned]
    print("{:7.3f}{:7.3f}{:12.3f}{:7.3f}".format(*read), end="   ")
    before = hidden.forward(x_test)
    error = [((p.layers[0].forward(x_test) - before) ** 2).sum() / 2 / len(x_test) for p in pruned]
    print("{:7.2f}{:7.2f}{:12.2f}{:7.2f}".format(*error))
