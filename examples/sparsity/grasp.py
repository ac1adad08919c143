"""What becomes of the gradient when GraSP chooses the connections?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.grasp import grasp_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

LEARNING_RATE = 0.02  # try 0.1: larger steps suit chance, which then wins at 0.90
SIGN = 1  # try -1: keep what GraSP removes, and far less flow is left
SEED = 0  # try 1: another draw, the same story

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
network = mlp([64, 64, 10], rng=rng)  # not trained
scores = {name: SIGN * score for name, score in grasp_scores(network, x, labels).items()}
chance = random_scores(network, rng=rng)

flow = sum((gradient**2).sum() for gradient in network.grads.values())
print(f"gradient flow of the dense network, untrained: {flow:.3f}")
print("           flow, pruned        accuracy, trained")
print("sparsity    GraSP   random      GraSP   random")
criterion = CrossEntropy()
for sparsity in [0.9, 0.95, 0.98]:
    flows, accuracies = [], []
    for kind in (scores, chance):
        sparse = prune_network(network, layer_masks(kind, sparsity))
        criterion.forward(sparse.forward(x), labels)
        sparse.backward(criterion.backward())
        flows.append(sum((gradient**2).sum() for gradient in sparse.grads.values()))
        optimizer = Momentum(sparse, learning_rate=LEARNING_RATE)
        again = np.random.default_rng(SEED)  # the same batches for both
        train(sparse, optimizer, x, labels, epochs=10, batch_size=64, rng=again)
        accuracies.append(accuracy(sparse, x_test, labels_test))
    print(f"{sparsity:8.2f}   {flows[0]:6.3f}   {flows[1]:6.3f}     ", end=" ")
    print(f"{accuracies[0]:.3f}    {accuracies[1]:.3f}")
