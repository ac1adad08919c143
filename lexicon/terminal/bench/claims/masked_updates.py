"""Masked weights never receive updates.

A dense network (784-300-100-10 on 5,000 images of Fashion-MNIST, 64-64-10 on the digits) is
trained for four epochs, and of all its weights the 80 % of the smallest magnitude are masked. The
same optimiser goes on for two epochs, in four ways: with the gradient masked, the weights set to
zero and their velocity cleared, or with one of these three left undone. A weight that is not set to
zero is left out of the forward pass and keeps its place in memory. Plain descent, weight decay,
momentum, and both. Five seeds on the digits, three on Fashion-MNIST.

The table shows the share of the masked weights that moved, for each optimiser. For the last one it
also shows how far they moved on average, in per cent of the mean size of the kept weights, and how
many points of accuracy the network has more as it is stored than with the masked weights at zero.

A weight has been updated if it differs, be it in its last bit, from what it was right after
masking: no distance is too small to count. The claim holds if that is so of no masked weight in any
run. It holds only if those of the three are done whose omission moves a weight in any run. It does
not hold if weights move though all three are done.
"""

from copy import deepcopy
from statistics import fmean
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.global_prune import global_masks
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.terminal.bench.claims import Finding, Rows, listed, spread
from lexicon.terminal.bench.training import Data, load
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy, train

CONCERNS = ("mask", "fine_tuning")
CELLS = [
    {"data": data, "samples": samples, "sizes": sizes, "epochs": 4, "further": 2, "seed": seed}
    for data, samples, sizes, seeds in (
        ("digits", None, [64, 64, 10], 5),
        ("fashion-mnist", 5_000, [784, 300, 100, 10], 3),
    )
    for seed in range(seeds)
]
SPARSITY, BATCH = 0.8, 64
OPTIMISERS: dict[str, dict[str, Any]] = {
    "plain": {"learning_rate": 0.1, "beta": 0.0},
    "decay": {"learning_rate": 0.1, "beta": 0.0, "weight_decay": 5e-4},
    "momentum": {"learning_rate": 0.02},
    "both": {"learning_rate": 0.02, "weight_decay": 5e-4},
}
# What may be left undone, and what the claim needs if that moves a weight.
NEEDS = {
    "gradient": "the gradient is masked",
    "weight": "the weight is set to zero",
    "velocity": "its momentum is cleared",
}
UNDONE = (*NEEDS, "nothing")


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, mask with something left undone, go on, and see what the masked weights did."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], rng=rng, samples=cell["samples"])
    found: dict[str, Any] = {}
    with threadpool_limits(1):
        for name, settings in OPTIMISERS.items():
            dense = mlp(cell["sizes"], rng=rng)
            optimizer = Momentum(dense, **settings)
            train(dense, optimizer, *data[:2], epochs=cell["epochs"], batch_size=BATCH, rng=rng)
            found[name] = {
                undone: _go_on(*deepcopy((dense, optimizer)), undone, data, cell["further"], rng)
                for undone in UNDONE
            }
    return found


def _go_on(
    network: Sequential,
    optimizer: Momentum,
    undone: str,
    data: Data,
    epochs: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Mask a network with something left undone, train on, and compare its masked weights."""
    x, labels, x_test, labels_test = data
    masks = global_masks(magnitude_scores(network), SPARSITY)
    weights = {name: network.params[name] for name in masks}

    def outside() -> dict[str, np.ndarray]:
        return {name: weight[~masks[name]] for name, weight in weights.items()}

    def put(values: dict[str, np.ndarray]) -> None:
        for name, weight in weights.items():
            weight[~masks[name]] = values[name]

    trained = outside()
    zeros = {name: np.zeros_like(values) for name, values in trained.items()}
    put(zeros)
    if undone != "gradient":  # from here on the layers mask it
        for i, layer in enumerate(network.layers):
            if isinstance(layer, Linear):
                network.layers[i] = MaskedLinear(layer, masks[f"{i}.weight"])
    if undone != "velocity":
        for name, mask in masks.items():
            optimizer.velocity[name][~mask] = 0
    if undone == "weight":
        put(trained)
    start, criterion = outside(), CrossEntropy()
    for _ in range(epochs):
        for batch in minibatches(len(x), BATCH, rng=rng):
            stored = outside()
            if undone == "weight":
                put(zeros)  # in the forward pass only
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            put(stored)
            optimizer.step()
    moves = np.concatenate([outside()[name] - start[name] for name in masks])
    kept = np.concatenate([np.abs(weight[masks[name]]) for name, weight in weights.items()])
    as_stored = accuracy(network, x_test, labels_test)
    put(zeros)
    return {
        "moved": float((moves != 0).mean()),
        "distance": float(np.abs(moves).mean() / kept.mean()),
        "stored": as_stored,
        "masked": accuracy(network, x_test, labels_test),
    }


def judge(rows: Rows) -> Finding:
    """Find out what has to be done for no masked weight to move."""
    table = []
    most = dict.fromkeys(UNDONE, 0.0)
    for data in dict.fromkeys(cell["data"] for cell, _ in rows):
        seeds = [result for cell, result in rows if cell["data"] == data]
        for undone in UNDONE:
            shares = [fmean(seed[name][undone]["moved"] for seed in seeds) for name in OPTIMISERS]
            both = [seed["both"][undone] for seed in seeds]
            distance = f"{100 * fmean(run['distance'] for run in both):.2f}"
            gained = spread([run["stored"] - run["masked"] for run in both])
            table.append((data, undone, *(f"{100 * s:.0f}" for s in shares), distance, gained))
            most[undone] = max(most[undone], *shares)
    needed = [need for undone, need in NEEDS.items() if most[undone]]
    if most["nothing"]:
        verdict = "does not hold"
    elif needed:
        verdict = f"holds only if {listed(needed)}"
    else:
        verdict = "holds"
    gradient, weight, momentum, nothing = (f"{100 * share:.3g} %" for share in most.values())
    result = (
        "Of the weights that a mask takes out of the network, further training changes up to "
        f"{gradient} if their gradient is not masked, {weight} if they are not set to zero "
        f"before, {momentum} if the optimiser keeps their momentum, and {nothing} if all three "
        "are seen to."
    )
    moved = [f"{name}, %" for name in OPTIMISERS]
    headings = ("data", "undone", *moved, "far, %", "points")
    return Finding(verdict, result, headings, table)
