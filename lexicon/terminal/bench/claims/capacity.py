"""With the same number of connections, wide and sparse beats narrow and dense.

A dense network with narrow hidden layers is compared with sparse ones of as many connections, and
so of as many FLOPs a sample by count, whose hidden layers widen as density falls: 1/2, 1/4, down to
1/64. On Fashion-MNIST the dense one is 784-32-32-32-10 (27,456 connections, 10,000 training images
drawn by the seed), and the widest has 759 neurons in each hidden layer; on the digits they are
64-12-10 (888) and 64-768-10. Connections are shared out by Erdős–Rényi. They stay where they were
drawn (static), or the weakest move after each epoch of the first three quarters, as in SET
(rewired): 30 % at first, then fewer and fewer along half a cosine. Epochs, batches, momentum and
weight decay are the same for all. The learning rate was tuned before, for dense and for sparse
networks of each data set, with other seeds and on training images kept apart. Five seeds.

Wide and sparse beats narrow and dense at a density if it is ahead by half a point of mean test
accuracy or more, and by more than the 95 % margin of its lead seed by seed. The claim holds if it
does, static and rewired, at all six densities on both data sets, and does not hold if it never
does. Otherwise it holds only at the densities, on the data and in the ways where it does.
"""

from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import dense_width, network_cost, paired_difference
from lexicon.terminal.bench.claims import Finding, Rows, listed, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy

CONCERNS = ("sparse_from_scratch", "sparse_vs_dense", "rewiring")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "narrow": narrow,
        "part": part,
        "epochs": epochs,
        "learning_rates": {"dense": 0.05, "static": rate, "rewired": rate},
        "seed": seed,
    }
    for data, samples, narrow, epochs, rate in (
        ("digits", None, [64, 12, 10], 20, 0.4),
        ("fashion-mnist", 10_000, [784, 32, 32, 32, 10], 12, 0.1),
    )
    for part in (1, 2, 4, 8, 16, 32, 64)
    for seed in range(5)
]
WAYS = ("static", "rewired")
HALF_A_POINT = 0.005
MOVED, DECAY = 0.3, 5e-4


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train a network with the connections of the narrow one, of which it has a share."""
    narrow, part = cell["narrow"], cell["part"]
    budget = sum(n_in * n_out for n_in, n_out in pairwise(narrow))
    width, _ = dense_width(narrow, part * budget)
    sizes = [narrow[0], *[width] * (len(narrow) - 2), narrow[-1]]
    density = budget / sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    found: dict[str, Any] = {"width": width}

    def trained(way: str) -> float:
        rng = np.random.default_rng(cell["seed"])
        x, labels, *apart = load(cell["data"], rng=rng, samples=cell["samples"])
        dense = way == "dense"
        network = mlp(sizes, rng=rng) if dense else sparse_mlp(sizes, density=density, rng=rng)
        found["connections"] = network_cost(network).connections

        def move(epoch: int, optimizer: Momentum) -> None:
            if way == "rewired":
                share = cosine_fraction(epoch, end=round(0.75 * cell["epochs"]), initial=MOVED)
                rewire_network(network, optimizer, fraction=share, rng=rng)

        rate = cell["learning_rates"][way]
        how = {"epochs": cell["epochs"], "learning_rate": rate, "weight_decay": DECAY}
        unseen = (x, labels, x[:1], labels[:1])  # the test images are read once, at the end
        fit(network, unseen, rng=rng, after_epoch=move, **how)
        return accuracy(network, *apart)

    return found | {way: trained(way) for way in (("dense",) if part == 1 else WAYS)}


def judge(rows: Rows) -> Finding:
    """Compare leads over the narrow network with half a point and with their margins."""
    table, said, conditions, everywhere = [], [], [], True
    parts = sorted({cell["part"] for cell, _ in rows} - {1})
    for data in dict.fromkeys(cell["data"] for cell, _ in rows):
        groups = {
            part: [found for cell, found in rows if (cell["data"], cell["part"]) == (data, part)]
            for part in (1, *parts)
        }
        dense = [seed["dense"] for seed in groups[1]]
        table.append((data, "1", f"{groups[1][0]['width']}", *[spread(dense)] * 2, "", ""))
        better: dict[str, list[int]] = {way: [] for way in WAYS}
        means = []
        for part in parts:
            reads = {way: [seed[way] for seed in groups[part]] for way in WAYS}
            leads = [spread(np.subtract(read, dense).tolist()) for read in reads.values()]
            width = f"{groups[part][0]['width']}"
            table.append((data, f"1/{part}", width, *map(spread, reads.values()), *leads))
            for way, read in reads.items():
                means.append(100 * fmean(read))
                lead, margin = paired_difference(read, dense)
                if lead >= max(HALF_A_POINT, margin):
                    better[way].append(part)
        said.append(
            f"{100 * fmean(dense):.1f} % against {min(means):.1f} to {max(means):.1f} % on {data}"
        )
        everywhere &= all(found == parts for found in better.values())
        where = {way: _range(found, parts) for way, found in better.items() if found}
        if better["static"] == better["rewired"] != []:
            conditions.append(f"on {data} at {where['static']}")
        elif where:
            ways = " and ".join(f"at {text} if {way}" for way, text in where.items())
            conditions.append(f"on {data} {ways}")
    if not conditions:
        verdict = "does not hold"
    else:
        verdict = "holds" if everywhere else f"holds only {', and '.join(conditions)}"
    result = (
        "A narrow dense network is set against wide ones with as many connections, which are "
        f"1/{parts[0]} to 1/{parts[-1]} of those possible (their density) and stay (static) or "
        f"move (rewired). Accuracy is {listed(said)}."
    )
    headings = ("data", "density", "width", *(f"{way}, %" for way in WAYS))
    ahead = tuple(f"{way} ahead, points" for way in WAYS)
    return Finding(verdict, result, headings + ahead, table)


def _range(found: list[int], parts: list[int]) -> str:
    """Say at which densities."""
    if found == parts:
        return "all densities"
    names = [f"1/{part}" for part in found]
    first = parts.index(found[0])
    if len(found) > 2 and found == parts[first : first + len(found)]:
        return f"densities of {names[0]} to {names[-1]}"
    if len(found) == 1:
        return f"a density of {names[0]}"
    return f"densities of {listed(names)}"
