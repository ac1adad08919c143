"""Static masks limit a network; rewiring at constant sparsity does better.

A network 784-200-200-200-10 learns Fashion-MNIST from 10,000 training images, drawn by the seed.
It is sparse from the start, at five sparsities, with Erdős–Rényi counts. Static keeps its
connections. SET and RigL move the weakest after each epoch of the first three quarters, 30 % at
first and fewer and fewer along half a cosine: SET to places drawn by chance, RigL to those with the
largest gradient on a batch. All three begin as the same network. Five seeds.

The budget is the same, in connections and in training FLOPs: RigL trains for 12 epochs, the other
two for as many as would also cost what its dense gradients cost, rounded up. Momentum, weight decay
and batches are the same for all. The learning rate was tuned for each before, with another seed, on
training images kept apart and with 300 neurons a layer, and came out at 0.1 for all.

A way of rewiring does better at a sparsity if it is ahead of static by half a point of mean test
accuracy or more, and by more than the 95 % margin of its lead seed by seed. The claim holds if SET
and RigL both do better at all five sparsities, and does not hold if neither does at any. Otherwise
it holds only with the ways and at the sparsities where they do better.
"""

from copy import deepcopy
from math import ceil
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction, rewire_by_gradient, rigl_flops
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import paired_difference
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy

CONCERNS = ("rewiring", "rigl", "sparse_from_scratch")
CELLS = [
    {
        "data": "fashion-mnist",
        "samples": 10_000,
        "sizes": [784, 200, 200, 200, 10],
        "sparsity": sparsity,
        "epochs": 12,
        "learning_rates": {"static": 0.1, "SET": 0.1, "RigL": 0.1},
        "seed": seed,
    }
    for sparsity in (0.8, 0.9, 0.95, 0.98, 0.99)
    for seed in range(5)
]
WAYS = ("SET", "RigL")
HALF_A_POINT = 0.005
BATCH, MOVED, DECAY = 64, 0.3, 5e-4


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train one sparse network in three ways, with equal FLOPs."""
    rng = np.random.default_rng(cell["seed"])
    x, labels, *apart = load(cell["data"], rng=rng, samples=cell["samples"])
    unseen = (x, labels, x[:1], labels[:1])  # the test images are read once, at the end
    density = 1 - cell["sparsity"]
    start = sparse_mlp(cell["sizes"], density=density, rng=rng)

    def trained(way: str, epochs: int) -> float:
        network, order = deepcopy(start), np.random.default_rng(cell["seed"])

        def move(epoch: int, optimizer: Momentum) -> None:
            share = cosine_fraction(epoch, end=_end(epochs), initial=MOVED)
            if way == "SET":
                rewire_network(network, optimizer, fraction=share, rng=rng)
            elif way == "RigL" and share:
                batch = rng.permutation(len(x))[:BATCH]
                rewire_by_gradient(network, optimizer, x[batch], labels[batch], fraction=share)

        rate = cell["learning_rates"][way]
        how = {"epochs": epochs, "learning_rate": rate, "weight_decay": DECAY, "batch_size": BATCH}
        fit(network, unseen, rng=order, after_epoch=move, **how)
        return accuracy(network, *apart)

    epochs = cell["epochs"]
    updates = (_end(epochs) - 1) * rigl_flops(density, 1.0, interval=0)  # of RigL
    longer = epochs + ceil(updates / (3 * density * ceil(len(x) / BATCH)))
    found = {way: trained(way, longer) for way in ("static", "SET")}
    return {"epochs": longer, **found, "RigL": trained("RigL", epochs)}


def judge(rows: Rows) -> Finding:
    """Compare leads over static with half a point and with their margins."""
    table, means = [], []
    better: dict[str, list[float]] = {way: [] for way in WAYS}
    sparsities = list(dict.fromkeys(cell["sparsity"] for cell, _ in rows))
    for sparsity in sparsities:
        seeds = [result for cell, result in rows if cell["sparsity"] == sparsity]
        reads = {way: [seed[way] for seed in seeds] for way in ("static", *WAYS)}
        for way in WAYS:
            lead, margin = paired_difference(reads[way], reads["static"])
            if lead >= max(HALF_A_POINT, margin):
                better[way].append(sparsity)
        leads = [spread([seed[way] - seed["static"] for seed in seeds]) for way in WAYS]
        table.append((f"{100 * sparsity:g}", *map(spread, reads.values()), *leads))
        means.append([points(fmean(reads[way]) - fmean(reads["static"])) for way in WAYS])
    where = {way: _range(found, sparsities) for way, found in better.items() if found}
    if not where:
        verdict = "does not hold"
    elif all(found == sparsities for found in better.values()):
        verdict = "holds"
    elif better["SET"] == better["RigL"]:
        verdict = f"holds only {where['SET']}"
    else:
        verdict = "holds only " + " and ".join(f"with {way} {text}" for way, text in where.items())
    headings = ("sparsity, %", "static, %", *(f"{way}, %" for way in WAYS))
    ahead = tuple(f"{way} ahead, points" for way in WAYS)
    (set_first, rigl_first), (set_last, rigl_last) = means[0], means[-1]
    result = (
        f"At {100 * sparsities[0]:g} % sparsity, accuracy is {set_first} that with fixed "
        f"connections if the weakest ones move to random places (SET), and {rigl_first} it if they "
        f"move to where the gradient is largest (RigL). At {100 * sparsities[-1]:g} % it is "
        f"{set_last} with SET and {rigl_last} with RigL."
    )
    return Finding(verdict, result, headings + ahead, table)


def _range(found: list[float], sparsities: list[float]) -> str:
    """Say at which sparsities."""
    if found == sparsities:
        return "at all sparsities"
    names = [f"{100 * sparsity:g}" for sparsity in found]
    if len(found) > 1 and found == sparsities[-len(found) :]:
        return f"from {names[0]} % sparsity on"
    return f"at {listed(names)} % sparsity"


def _end(epochs: int) -> int:
    """Return the epoch from which on connections stay."""
    return round(0.75 * epochs)
