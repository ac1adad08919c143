"""Does a weight's input tell whether the weight can go?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import global_masks, layer_masks, neuron_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.wanda import wanda_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

UNITS = 0  # try 3: the same network on pixels in other units; only magnitude notices
SAMPLES = 1000  # try 100, 1: a hundred will do, one digit will not
SEED = 0  # try 1: another network; per neuron at 0.75 and above, magnitude leads again

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 64, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)

length = np.linalg.norm(x, axis=0)
faint = length < 0.05 * np.median(length)  # border pixels, almost always 0
unit = (2.0 ** rng.integers(-UNITS, UNITS + 1, size=64)).astype(np.float32)
x, x_test = x * unit, x_test * unit
network.params["0.weight"][:] /= unit  # it computes what it computed before
print(f"dense {accuracy(network, x_test, labels_test):.3f}, pruned without fine-tuning:\n")

scores = {"magnitude": magnitude_scores(network), "wanda": wanda_scores(network, x[:SAMPLES])}
print("               per neuron         per layer            global")
print("sparsity  magnitude  wanda  magnitude  wanda  magnitude  wanda")
for sparsity in (0.25, 0.5, 0.75, 0.875):
    print(f"{sparsity:8.3f}", end="")
    for choose in (neuron_masks, layer_masks, global_masks):
        for name, score in scores.items():
            pruned = prune_network(network, choose(score, sparsity))
            print(
                f"{accuracy(pruned, x_test, labels_test):{11 if name == 'magnitude' else 7}.3f}",
                end="",
            )
    print()

print(f"\n{faint.sum()} pixels are almost always 0. Of their weights, per neuron at 0.5,")
for name, score in scores.items():
    print(f"  {name:9s} keeps {neuron_masks(score, 0.5)['0.weight'][:, faint].mean():4.0%}")
