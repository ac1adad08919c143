"""Pruning too aggressively loses information; there is a balance to find.

A dense network is trained, and from 50 to 99.5 % of its weights are removed by magnitude. All
layers are ranked together, each magnitude times the root of its layer's number of inputs, so that
no layer dies only because its weights began smaller. Test accuracy is read at once, and again after
as many epochs of further training as the dense network had, at the same rates: what is still lost
then was not just waiting to be healed. The control keeps all weights and is trained further in the
same way.

Three networks: 64-64-10 on the digits; 64-300-100-10, ten times as large, on the same digits;
784-300-100-10 on 10,000 samples of Fashion-MNIST. Five seeds, three of Fashion-MNIST.

Little is lost where mean accuracy, trained further, is at most 1 point below the control's; much
where it is more than 3 points below. There is a balance on a network if little is lost at 50 % and
much at 99.5 %. The claim holds if that is so on all three, only on those where it is so, and does
not hold if it is so on none. The knee is the highest sparsity with little loss there and at each
lower one.
"""

from copy import deepcopy
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.training_loop import accuracy

CONCERNS = ("magnitude_prune", "sparsity", "global_prune")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "sparsities": [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995],
        "seed": seed,
    }
    for data, samples, sizes, epochs, seeds in (
        ("digits", None, [64, 64, 10], 20, 5),
        ("digits", None, [64, 300, 100, 10], 20, 5),
        ("fashion-mnist", 10_000, [784, 300, 100, 10], 12, 3),
    )
    for seed in range(seeds)
]
LITTLE, MUCH = 0.01, 0.03


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune more and more, train each further."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], samples=cell["samples"], rng=rng)
    dense = mlp(cell["sizes"], rng=rng)
    at_once = fit(dense, data, epochs=cell["epochs"], rng=rng)[-1]
    scores = {
        name: score * np.sqrt(score.shape[1]) for name, score in magnitude_scores(dense).items()
    }
    found = {}
    for sparsity in (0, *cell["sparsities"]):
        network = deepcopy(dense)
        if sparsity:
            network = prune_network(dense, global_masks(scores, sparsity))
            at_once = accuracy(network, *data[2:])
        left = sum(network.params[name].size for name in scores)
        trained = fit(network, data, epochs=cell["epochs"], rng=rng)[-1]
        found[f"{sparsity:g}"] = {"left": left, "at once": at_once, "trained": trained}
    return found


def judge(rows: Rows) -> Finding:
    """Find the knee of each network."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for cell, found in rows:
        name = f"{cell['data']} {'-'.join(map(str, cell['sizes']))}"
        networks.setdefault(name, []).append(found)
    shares = [f"{sparsity:g}" for sparsity in rows[0][0]["sparsities"]]
    table, balanced, knees, falls = [], [], [], []
    for name, seeds in networks.items():
        for share in ("0", *shares):
            reads = [[seed[share][when] for seed in seeds] for when in ("at once", "trained")]
            left = f"{seeds[0][share]['left']:,}"
            table.append((name, f"{100 * float(share):g}", left, *map(spread, reads)))
        losses = [
            fmean(seed["0"]["trained"] - seed[share]["trained"] for seed in seeds)
            for share in shares
        ]
        knee = _knee(losses, shares)
        falls.append(losses[-1])
        where = f"on {name.split()[0]} ({seeds[0]['0']['left']:,} weights)"
        if knee != "0" and falls[-1] > MUCH:
            balanced.append(where)
        knees.append(f"{100 * float(knee):g} % {where}")
    if len(balanced) == len(networks):
        verdict = "holds"
    elif balanced:
        verdict = f"holds only {listed(balanced)}"
    else:
        verdict = "does not hold"
    result = (
        "After further training, at most 1 point of accuracy is lost up to this share of removed "
        f"weights: {listed(knees)}. With {100 * float(shares[-1]):g} % removed, even the network "
        f"that loses least is {points(-min(falls))} its unpruned twin."
    )
    headings = ("network", "removed, %", "weights left", "at once, %", "trained, %")
    return Finding(verdict, result, headings, table)


def _knee(losses: list[float], shares: list[str]) -> str:
    """Return the last of the first shares at which little is lost, 0 if it is none."""
    knee = "0"
    for loss, share in zip(losses, shares, strict=True):
        if loss > LITTLE:
            break
        knee = share
    return knee
