"""At the same budget, which reads digits better: wide and sparse, or narrow and dense?"""

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import dense_width, network_cost, paired_difference
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

DENSITY = 0.15  # try 0.05: far behind at equal FLOPs; one narrow dense seed fails, see its margin
DENSE_RATE = 0.1  # try 0.01: a rate that nobody tuned, and sparse is ahead at both budgets
SEEDS = 5  # try 2: margins many times as wide, and nothing is decided

SIZES = [64, 256, 10]
sparse = network_cost(sparse_mlp(SIZES, density=DENSITY, rng=np.random.default_rng(0)))
contestants = {
    "sparse, wide": 256,
    "dense, wide": 256,
    "dense, equal weights": dense_width(SIZES, sparse.connections)[0],
    "dense, equal FLOPs": dense_width(SIZES, sparse.step_flops // 6)[0],
}

read, costs = {name: [] for name in contestants}, {}
for seed in range(SEEDS):
    x, labels, *apart = stratified_split(*load_digits(), rng=np.random.default_rng(seed))
    for name, width in contestants.items():
        rng = np.random.default_rng(seed)
        if name == "sparse, wide":
            network, rate = sparse_mlp(SIZES, density=DENSITY, rng=rng), 0.1
        else:
            network, rate = mlp([64, width, 10], rng=rng), DENSE_RATE
        optimizer = Momentum(network, learning_rate=rate)
        train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
        read[name].append(accuracy(network, *apart))
        costs[name] = network_cost(network)

print(f"{'':20s}  weights   bytes  step FLOPs  accuracy (sd)    sparse ahead")
for name, cost in costs.items():
    line = f"{name:20s}  {cost.connections:7,d}  {cost.weight_bytes:6,d}  {cost.step_flops:10,d}"
    line += f"  {np.mean(read[name]):.3f} ({np.std(read[name], ddof=1):.3f})"
    if name != "sparse, wide":
        line += "  {:+.3f} ± {:.3f}".format(*paired_difference(read["sparse, wide"], read[name]))
    print(line)
