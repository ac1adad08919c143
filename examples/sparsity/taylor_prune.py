"""Which weights of a trained network does its gradient say can go?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

CLASSES = 10  # try 1: scored on zeros alone, mean |w · g| is no better than |w · mean g|
FINE_TUNE = 2  # try 5: at 90 % every row gains
SEED = 0  # try 1: other numbers; at 80 and 90 % mean |w · g| still beats |w · mean g|

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 64, 10], rng=rng)
train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=10, batch_size=32, rng=rng)

seen = labels < CLASSES
taylor = taylor_scores(network, x[seen], labels[seen])
mean = {name: network.grads[name] for name in taylor}  # the gradient of the mean loss
criteria = {
    "|mean g|": {name: np.abs(g) for name, g in mean.items()},
    "|w · mean g|": {name: np.abs(network.params[name] * g) for name, g in mean.items()},
    "mean |w · g|": taylor,
    "|w|": magnitude_scores(network),
    "random": random_scores(network, rng=rng),
}
print(f"trained: accuracy {accuracy(network, x_test, labels_test):.3f}")
print("                      pruned               fine-tuned")
print("keep the largest   50 %   80 %   90 %    50 %   80 %   90 %")
for criterion, scores in criteria.items():
    pruned = [prune_network(network, layer_masks(scores, s)) for s in (0.5, 0.8, 0.9)]
    before = [accuracy(sparse, x_test, labels_test) for sparse in pruned]
    for sparse in pruned:
        optimizer = Momentum(sparse, learning_rate=0.05)
        again = np.random.default_rng(SEED)  # the same batches for all
        train(sparse, optimizer, x, labels, epochs=FINE_TUNE, batch_size=32, rng=again)
    after = [accuracy(sparse, x_test, labels_test) for sparse in pruned]
    print(f"{criterion:17}", *(f"{a:.3f} " for a in before), "", *(f"{a:.3f} " for a in after))
