"""Can the neurons that rarely fire go?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.activation_prune import firing_rates
from lexicon.sparsity.global_prune import prune_network
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

HIDDEN = 64  # try 32: half of them removed costs more, before fine-tuning
FINE_TUNE = 3  # try 6: nearly all heals, but not the last row
SEED = 0  # try 1: other numbers; with 48 removed, just pruned, the same order

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, HIDDEN, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)

rate = firing_rates(network, x)["2.weight"]  # of the neurons that weight 2 reads
never, often = (rate == 0).sum(), (rate >= 0.5).sum()
print(f"{HIDDEN} neurons read {accuracy(network, x_test, labels_test):.3f} of the test digits")
print(f"{never} never fire on the training digits, {often} fire for at least half of them")

worths = {
    "fire rarest": rate,
    "smallest outgoing": np.linalg.norm(network.params["2.weight"], axis=0),
    "at random": rng.random(HIDDEN),
    "fire most": -rate,
}
for removed in (HIDDEN // 4, HIDDEN // 2, 3 * HIDDEN // 4):
    print(f"\n{removed} neurons removed     pruned   fine-tuned")
    for name, worth in worths.items():
        kept = np.zeros(HIDDEN, dtype=bool)
        kept[np.argsort(-worth, kind="stable")[: HIDDEN - removed]] = True
        masks = {"0.weight": np.outer(kept, np.ones(64, bool))}  # what a neuron reads goes
        masks["2.weight"] = np.outer(np.ones(10, bool), kept)  # and what reads it
        pruned = prune_network(network, masks)
        print(f"  {name:18s} {accuracy(pruned, x_test, labels_test):8.3f}", end="")
        optimizer = Momentum(pruned, learning_rate=0.05)
        again = np.random.default_rng(SEED)  # the same batches for all
        train(pruned, optimizer, x, labels, epochs=FINE_TUNE, batch_size=32, rng=again)
        print(f"     {accuracy(pruned, x_test, labels_test):8.3f}")
