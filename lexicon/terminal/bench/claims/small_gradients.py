"""Weights whose gradient is near zero can be removed without much harm.

A dense network is trained (784-300-100-10 on 10,000 samples of Fashion-MNIST, 64-64-10 on the
digits), and its gradients are taken on all training samples. From 20 to 80 % of each layer's
weights are removed, those of the lowest score: the size of the mean gradient, as the claim has it;
the mean size of the samples' gradients, which do not cancel; each of the two times the weight; and,
to compare, the weight alone and chance. Test accuracy is read at once, and again after a quarter as
many epochs of further training. Five seeds, three of Fashion-MNIST.

Not much harm is at most 1 point of mean accuracy below the dense network. On a data set a score
will do up to the highest sparsity at which, as at all lower ones, the harm is not much, while at
that sparsity chance does more: where chance does as well, a score shows nothing. The claim holds if
the mean gradient will do at once up to 80 % on both data sets, and only up to where it will do at
once. If it will do nowhere, the claim holds only with further training, up to where the mean
gradient will do then; failing that, only for the gradient times the weight, up to where one of
these two will do at once. Otherwise it does not hold.
"""

from itertools import product
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.terminal.bench.claims import Finding, Rows, points, spread
from lexicon.terminal.bench.training import Data, fit, load
from lexicon.training.training_loop import accuracy

CONCERNS = ("taylor_prune", "magnitude_prune", "snip")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "sparsities": [0.2, 0.5, 0.8],
        "seed": seed,
    }
    for data, samples, sizes, epochs, seeds in (
        ("digits", None, [64, 64, 10], 20, 5),
        ("fashion-mnist", 10_000, [784, 300, 100, 10], 12, 3),
    )
    for seed in range(seeds)
]
LITTLE = 0.01
GRADIENT, CHANCE = "mean gradient", "chance"
PRODUCTS = ("weight × mean", "weight × size")
SCORES = (GRADIENT, "size of gradients", *PRODUCTS, "weight", CHANCE)
WHEN = ("at once", "trained")


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune by each score, train further."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], samples=cell["samples"], rng=rng)
    dense = mlp(cell["sizes"], rng=rng)
    start, _ = _slopes(dense, data)
    found: dict[str, Any] = {"dense": fit(dense, data, epochs=cell["epochs"], rng=rng)[-1]}
    mean, size = _slopes(dense, data)
    found["of the start"] = _total(mean) / _total(start)
    found["not cancelled"] = _total(mean) / _total(size)
    weights = magnitude_scores(dense)
    products = [{name: w * slopes[name] for name, w in weights.items()} for slopes in (mean, size)]
    scores = (mean, size, *products, weights, random_scores(dense, rng=rng))
    for sparsity in cell["sparsities"]:
        reads = found[f"{sparsity:g}"] = {}
        for name, score in zip(SCORES, scores, strict=True):
            network = prune_network(dense, layer_masks(score, sparsity))
            at_once = accuracy(network, *data[2:])
            again = fit(network, data, epochs=cell["epochs"] // 4, rng=rng, learning_rate=0.02)
            reads[name] = {"at once": at_once, "trained": again[-1]}
    return found


def judge(rows: Rows) -> Finding:
    """Find how far each score will do."""
    table = []
    leads: dict[str, list[float]] = {score: [] for score in (GRADIENT, CHANCE, PRODUCTS[1])}
    reach: dict[str, dict[str, float]] = {"at once": {}, "trained": {}, "products": {}}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    sparsities = rows[0][0]["sparsities"]
    for data in names:
        seeds = [result for cell, result in rows if cell["data"] == data]
        harm: dict[tuple[str, str], list[float]] = {}
        for when, score in product(WHEN, SCORES):
            lost = [
                [seed["dense"] - seed[f"{sparsity:g}"][score][when] for seed in seeds]
                for sparsity in sparsities
            ]
            harm[score, when] = [fmean(each) for each in lost]
            table.append((data, when, score, *map(spread, lost)))
        for key, scores, when in (
            ("at once", (GRADIENT,), "at once"),
            ("trained", (GRADIENT,), "trained"),
            ("products", PRODUCTS, "at once"),
        ):
            limits = [_limit(harm[s, when], harm[CHANCE, when], sparsities) for s in scores]
            if max(limits):
                reach[key][data] = max(limits)
        half = sparsities.index(0.5)
        for score, of_score in leads.items():
            of_score.append(-harm[score, "at once"][half])
    if reach["at once"] == dict.fromkeys(names, sparsities[-1]):
        verdict = "holds"
    elif reach["at once"]:
        verdict = f"holds only {_up_to(reach['at once'])}"
    elif reach["trained"]:
        verdict = f"holds only with further training, {_up_to(reach['trained'])}"
    elif reach["products"]:
        verdict = f"holds only for the gradient times the weight, {_up_to(reach['products'])}"
    else:
        verdict = "does not hold"
    gradient, chance, weighted = (points(*of_score) for of_score in leads.values())
    result = (
        f"On {' and on '.join(names)}, accuracy without the half of the weights whose gradient is "
        f"nearest zero is {gradient} the dense network's. Without a random half it is {chance}, "
        f"and without the half whose gradient times weight is smallest {weighted}."
    )
    headings = (
        "data",
        "read",
        "points lost by",
        *(f"{100 * sparsity:g} % gone" for sparsity in sparsities),
    )
    return Finding(verdict, result, headings, table)


def _slopes(network: Sequential, data: Data) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the size of the mean gradient, and the mean size of the samples' gradients."""
    scores = taylor_scores(network, *data[:2])
    weights = magnitude_scores(network)
    size = {
        name: np.divide(score, weights[name], out=np.zeros_like(score), where=weights[name] > 0)
        for name, score in scores.items()
    }
    return {name: np.abs(network.grads[name]) for name in scores}, size


def _total(scores: dict[str, np.ndarray]) -> float:
    """Add up all scores."""
    return float(sum(score.sum(dtype=np.float64) for score in scores.values()))


def _limit(own: list[float], chance: list[float], sparsities: list[float]) -> float:
    """Return the highest sparsity at which a score will do, 0 if there is none."""
    limit = 0.0
    for sparsity, harm, by_chance in zip(sparsities, own, chance, strict=True):
        if harm > LITTLE:
            break
        if by_chance > LITTLE:
            limit = sparsity
    return limit


def _up_to(reach: dict[str, float]) -> str:
    """Say how far on which data."""
    return " and ".join(
        f"up to {100 * limit:g} % of the weights on {data}" for data, limit in reach.items()
    )
