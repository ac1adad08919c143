"""How many connections does a rewired network try, and does trying more help?"""

import numpy as np

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity.in_time_overparameterization import Explored, expected_rate
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy

DENSITY = 0.03  # try 0.1: with connections to spare, all intervals read about alike
FRACTION = 0.3  # try 0.1: a third as many move at a time, so moving more often pays
STEPS = 240  # try 480: where it rewires, more is tried, and the best reads better
SEED = 0  # try 1: other numbers, the same rise and fall

x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=np.random.default_rng(SEED))
print("steps between  rewirings   share of positions tried   accuracy")
print("rewirings                     formula      counted")
for interval in [STEPS, 80, 40, 20, 5, 1]:
    rng, draws = np.random.default_rng(SEED), np.random.default_rng(SEED)
    network = sparse_mlp([64, 128, 10], density=DENSITY, rng=rng)  # the same every time
    optimizer, criterion = Momentum(network, learning_rate=0.1), CrossEntropy()
    batches = [b for _ in range(STEPS // 40 + 1) for b in minibatches(len(x), 32, rng=rng)]

    explored, rewirings = Explored(network), 0
    for step, batch in enumerate(batches[:STEPS]):
        if step and step % interval == 0:
            explored.update()  # before the rewiring: all that exist have been trained
            rewire_network(network, optimizer, fraction=FRACTION, rng=draws)
            rewirings += 1
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        optimizer.step()
    explored.update()

    formula, total = 0.0, 64 * 128 + 128 * 10
    for layer, size in zip(network.layers[::2], [64 * 128, 128 * 10], strict=True):
        rate = expected_rate(size, layer.weight.nnz, fraction=FRACTION, rewirings=rewirings)
        formula += rate * size / total
    tried, read = explored.rate, accuracy(network, x_test, labels_test)
    print(f"{interval:13d}  {rewirings:9d}   {formula:16.3f} {tried:12.3f}   {read:7.3f}")
