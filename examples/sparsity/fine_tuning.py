"""What heals a pruned network: small steps, larger steps, or going back?"""

from copy import deepcopy

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.fine_tuning import constant_rate, movement, regained, rewind, rewound_rate
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SPARSITY = 0.95  # try 0.8: less to heal, and the three ways end close together
AGAIN = 5  # try 2: only small steps are gone through again, and all three are alike
SEED = 0  # try 1: other numbers; small steps still heal least

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network, rates = mlp([64, 64, 10], rng=rng), [0.1] * 7 + [0.01] * 3
optimizer = Momentum(network, learning_rate=0.1)
for epoch in range(10):
    if epoch == 10 - AGAIN:
        earlier = deepcopy(network)
    optimizer.learning_rate = rates[epoch]
    train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
pruned = prune_network(network, global_masks(magnitude_scores(network), SPARSITY))
print(f"dense             accuracy {accuracy(network, x_test, labels_test):.3f}")
print(f"pruned            accuracy {accuracy(pruned, x_test, labels_test):.3f}")
print(f"after {AGAIN} epochs    accuracy  weights moved  norm  hidden sums regained")

small = constant_rate(rates.__getitem__, trained=10)
again = rewound_rate(rates.__getitem__, trained=10, epochs=AGAIN)
for name, body, values, rate in [
    ("not pruned", network, network, again),
    ("fine-tuning", pruned, network, small),
    ("rate rewinding", pruned, network, again),
    ("weight rewinding", pruned, earlier, again),
]:
    healed = deepcopy(body)
    rewind(healed, values)
    optimizer, batches = Momentum(healed, learning_rate=0.1), np.random.default_rng(SEED)
    for epoch in range(AGAIN):
        optimizer.learning_rate = rate(epoch)
        train(healed, optimizer, x, labels, epochs=1, batch_size=64, rng=batches)
    moved = movement(healed, network)
    back = regained(*(each.layers[0].forward(x_test) for each in (network, pruned, healed)))
    row = f"{name:16s}  {accuracy(healed, x_test, labels_test):8.3f}  {moved.distance:13.0%}"
    print(f"{row}  {moved.growth:4.2f}  {back:20.0%}")
