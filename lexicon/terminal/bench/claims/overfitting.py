"""Sparse networks overfit less, above all with few data or many features.

Six situations: 50 and 500 digits, 200 and 2,000 pictures of Fashion-MNIST, 100 digits with 256
inputs of noise beside the 64 pixels, 500 pictures with 784. A dense network (64 hidden neurons on
the digits, 300 and 100 on Fashion-MNIST) meets three sparse ones of its widths: random and
*static*, *SET*, and *pruned* by magnitude after two thirds of the epochs. Two controls are dense: a
*narrow* one of as many weights as the sparse, and one of full width with weight *decay*.

All train for as many epochs, until nearly all training samples are right. On a quarter of its
training samples each network first chooses one of two recipes (inputs of deviation 1 and a rate of
0.05, or a third of that and 0.1), and all but the dense one of three strengths (80, 90 or 95 % of
weights missing; decay 0.003, 0.01 or 0.03); then it trains anew on all. Sixteen seeds on the
digits, where they differ by much, four on Fashion-MNIST, all networks of a seed on the same
samples.

A sparse way overfits less in a situation if, against the dense network, its gap between training
and test accuracy is smaller and its test accuracy higher, each by more than 1 point and by more
than two standard errors of the paired differences; and if its mean test accuracy is at most 1
point below that of the better control, for otherwise a dense network overfits less still. The
claim holds if all three ways do so in all six situations, and only for those ways and situations
that do.
"""

from collections.abc import Iterator
from itertools import pairwise, product
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_generalization import (
    Generalization,
    generalization,
    paired,
    with_noise_features,
)
from lexicon.sparsity.sparse_vs_dense import dense_width
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import Data, fit, load
from lexicon.training.momentum import Momentum

CONCERNS = ("sparse_generalization", "magnitude_prune", "rewiring", "sparse_from_scratch")
CELLS = [
    {"data": data, "samples": samples, "useless": useless, "epochs": epochs, "batch": batch}
    | {"hidden": [64] if data == "digits" else [300, 100], "seed": seed}
    for data, samples, useless, epochs, batch in (
        ("digits", 50, 0, 100, 25),
        ("digits", 500, 0, 20, 25),
        ("fashion-mnist", 200, 0, 30, 25),
        ("fashion-mnist", 2000, 0, 10, 50),
        ("digits", 100, 256, 60, 25),
        ("fashion-mnist", 500, 784, 12, 25),
    )
    for seed in (range(100, 116) if data == "digits" else range(200, 204))
]
WAYS, CONTROLS = ("static", "SET", "pruned"), ("narrow", "decay")
STRENGTHS = {"dense": (0.0,), "decay": (0.003, 0.01, 0.03)}
RECIPES = ((1.0, 0.05), (1 / 3, 0.1))  # what the inputs are multiplied by, and the learning rate
POINT = 0.01


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Choose each network's strength on held-out samples, train it on all, read both accuracies."""
    rng = np.random.default_rng(cell["seed"])
    x, labels, x_test, labels_test = load(cell["data"], rng=rng, samples=cell["samples"])
    both = with_noise_features(np.vstack([x, x_test[:4000]]), cell["useless"], rng=rng)
    x, x_test, labels_test = both[: len(x)], both[len(x) :], labels_test[:4000]
    seen = 3 * len(x) // 4
    some = x[:seen], labels[:seen], x[seen:], labels[seen:]
    found: dict[str, Any] = {}
    for way in ("dense", *WAYS, *CONTROLS):
        best, best_read = (0.0, RECIPES[0]), -1.0
        for strength, recipe in product(STRENGTHS.get(way, (0.8, 0.9, 0.95)), RECIPES):
            held_out = _read(way, strength, recipe, some, cell).test
            if held_out > best_read:
                best, best_read = (strength, recipe), held_out
        read = _read(way, *best, (x, labels, x_test, labels_test), cell)
        found[way] = {"strength": best[0], "recipe": list(best[1]), **read._asdict()}
    return found


def _read(
    way: str, strength: float, recipe: tuple[float, float], data: Data, cell: dict[str, Any]
) -> Generalization:
    """Train a network in one of the ways, and read its accuracy on both parts of the data."""
    scale, rate = recipe
    x, labels, x_apart, labels_apart = data
    x, x_apart = x * np.float32(scale), x_apart * np.float32(scale)
    network = _trained(way, strength, (x, labels, x_apart[:10], labels_apart[:10]), rate, cell)
    return generalization(network, (x, labels), (x_apart, labels_apart))


def _trained(
    way: str, strength: float, data: Data, rate: float, cell: dict[str, Any]
) -> Sequential:
    """Train a network in one of the ways."""
    rng, epochs, batch = np.random.default_rng(cell["seed"]), cell["epochs"], cell["batch"]
    sizes = [data[0].shape[1], *cell["hidden"], 10]
    if way == "narrow":
        weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        width, _ = dense_width(sizes, round((1 - strength) * weights))
        sizes[1:-1] = [width] * len(cell["hidden"])
    if way in ("static", "SET"):
        network = sparse_mlp(sizes, density=1 - strength, rng=rng)
    else:
        network = mlp(sizes, rng=rng)

    def after_epoch(epoch: int, optimizer: Momentum) -> None:
        if way == "SET":
            share = cosine_fraction(epoch, end=3 * epochs // 4, initial=0.3)
            rewire_network(network, optimizer, fraction=share, rng=rng)

    until = 2 * epochs // 3 if way == "pruned" else epochs
    fit(
        network,
        data,
        epochs=until,
        rng=rng,
        learning_rate=rate,
        weight_decay=strength if way == "decay" else 0.0,
        batch_size=batch,
        after_epoch=after_epoch,
    )
    if way == "pruned":
        network = prune_network(network, global_masks(magnitude_scores(network), strength))
        fit(network, data, epochs=epochs - until, rng=rng, learning_rate=rate, batch_size=batch)
    return network


def judge(rows: Rows) -> Finding:
    """Compare gaps and test accuracies, pair by pair."""
    table: list[tuple[str, ...]] = []
    smaller: dict[str, int] = dict.fromkeys(WAYS, 0)
    higher: dict[str, int] = dict.fromkeys(WAYS, 0)
    less: dict[str, list[str]] = {way: [] for way in WAYS}
    by_decay, best_gains = [], []
    situations = list(_situations(rows))
    for name, label, reads in situations:
        test = {way: [read.test for read in seeds] for way, seeds in reads.items()}
        gaps = {way: [read.gap for read in seeds] for way, seeds in reads.items()}
        bar = max(fmean(test[way]) for way in CONTROLS) - POINT
        gain = {way: paired(test["dense"], test[way]) for way in (*WAYS, *CONTROLS)}
        by_decay.append(gain["decay"].mean)
        best_gains.append(max(gain[way].mean for way in WAYS))
        for way in WAYS:
            shrinks = paired(gaps[way], gaps["dense"])
            is_smaller = shrinks.mean > max(POINT, 2 * shrinks.error)
            is_higher = gain[way].mean > max(POINT, 2 * gain[way].error)
            smaller[way] += is_smaller
            higher[way] += is_higher
            if is_smaller and is_higher and fmean(test[way]) >= bar:
                less[way].append(name)
        for way, seeds in reads.items():
            train = spread([read.train for read in seeds])
            table.append((label, way, train, spread(test[way]), spread(gaps[way])))
    if all(len(names) == len(situations) for names in less.values()):
        verdict = "holds"
    elif any(less.values()):
        verdict = "holds only for " + "; ".join(
            f"{way} networks on {', on '.join(names)}" for way, names in less.items() if names
        )
    else:
        verdict = "does not hold"
    counts = [f"{way} {smaller[way]} and {higher[way]}" for way in WAYS]
    ranges = [
        f"from {points(min(gains))} to {points(max(gains))}" for gains in (best_gains, by_decay)
    ]
    result = (
        f"In so many of {len(situations)} situations the gap is smaller than the dense network's, "
        f"and the test accuracy higher: {listed(counts)}. The test accuracy of the best sparse way "
        f"is {ranges[0]} the dense network's, that of weight decay {ranges[1]}."
    )
    headings = ("samples + useless inputs", "network", "training, %", "test, %", "gap, points")
    return Finding(verdict, result, headings, table)


def _situations(rows: Rows) -> Iterator[tuple[str, str, dict[str, list[Generalization]]]]:
    """Group the seeds of each situation, under a name and a label."""
    kinds = dict.fromkeys((cell["data"], cell["samples"], cell["useless"]) for cell, _ in rows)
    for data, samples, useless in kinds:
        seeds = [
            found
            for cell, found in rows
            if (cell["data"], cell["samples"], cell["useless"]) == (data, samples, useless)
        ]
        reads = {
            way: [Generalization(seed[way]["train"], seed[way]["test"]) for seed in seeds]
            for way in ("dense", *WAYS, *CONTROLS)
        }
        name, label = f"{samples:,} samples of {data}", f"{data}, {samples:,}"
        if useless:
            name, label = f"{name} with {useless} useless inputs", f"{label} + {useless}"
        yield name, label, reads
