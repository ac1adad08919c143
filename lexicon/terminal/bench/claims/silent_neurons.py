"""Neurons that rarely fire can go.

A dense network (784-300-100-10 on 20,000 images of Fashion-MNIST, 64-64-10 on the digits) is
trained, and the share of training samples is counted for which each hidden neuron is not zero. A
quarter, half and three quarters of each hidden layer are removed: the neurons that fire rarest, as
a control as many at random, then those of the smallest weights, and those that fire most. Test
accuracy is read at once, and again after a quarter as many epochs of further training. Apart from
this, the neurons that never fired are removed. Five seeds on the digits, three on Fashion-MNIST.

Neurons can go if mean accuracy falls by at most 1 point, and firing has to do with it if it falls
by more where chance chose. The claim holds if the rarest half can go at once on both data sets. It
holds only for the largest share that can go at once on a data set; where none can, for the largest
that can with further training; where none can either, for neurons that never fire, if their
removal costs at most 0.1 points. It does not hold if not even these can go. Data sets that differ
are named.
"""

from copy import deepcopy
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.activation_prune import firing_rates
from lexicon.sparsity.mask import kept, top_k
from lexicon.sparsity.structured_prune import neuron_scores, remove_neurons
from lexicon.terminal.bench.claims import Finding, Rows, points, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.training_loop import accuracy

CONCERNS = ("activation_prune",)
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "shares": [0.25, 0.5, 0.75],
        "seed": seed,
    }
    for data, samples, sizes, epochs, seeds in (
        ("digits", None, [64, 64, 10], 20, 5),
        ("fashion-mnist", 20_000, [784, 300, 100, 10], 12, 3),
    )
    for seed in range(seeds)
]
LITTLE, NOTHING, HALF = 0.01, 0.001, 0.5
WAYS = ("rarest", "random", "weakest", "busiest")
WHEN = {"at once": "", "trained": ", with further training"}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, count who fires, remove neurons in four ways, train further."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], rng=rng, samples=cell["samples"])
    dense = mlp(cell["sizes"], rng=rng)
    found: dict[str, Any] = {"dense": fit(dense, data, epochs=cell["epochs"], rng=rng)[-1]}
    heard = firing_rates(dense, data[0])  # by the weights that hear a neuron
    rates = {own: heard[reader] for own, reader in pairwise(heard)}
    fire = {own: rate > 0 for own, rate in rates.items()}
    found["never"] = {
        "share": 1 - float(np.concatenate([*fire.values()]).mean()),
        "at once": accuracy(_without(dense, fire), *data[2:]),
    }
    worth = {
        "rarest": rates,
        "random": {own: rng.random(rate.shape) for own, rate in rates.items()},
        "weakest": neuron_scores(dense),
        "busiest": {own: -rate for own, rate in rates.items()},
    }
    for share in cell["shares"]:
        at: dict[str, Any] = {}
        for way in WAYS:
            keep = {own: top_k(score, kept(score.size, share)) for own, score in worth[way].items()}
            network = _without(dense, keep)
            at_once = accuracy(network, *data[2:])
            further = cell["epochs"] // 4
            trained = fit(network, data, epochs=further, rng=rng, learning_rate=0.02)[-1]
            at[way] = {"at once": at_once, "trained": trained}
            if way == "rarest":
                at["rate"] = max(float(rates[own][~mask].max()) for own, mask in keep.items())
        found[f"{share:g}"] = at
    return found


def _without(network: Sequential, keep: dict[str, np.ndarray]) -> Sequential:
    """Return a copy without neurons and without anything that they said."""
    network = deepcopy(network)
    weights = [name for name in network.params if name.endswith("weight")]
    for own, reader in pairwise(weights):
        # Else the next bias would take over what they say without input.
        network.params[reader][:, ~keep[own]] = 0
    return remove_neurons(network, keep)


def judge(rows: Rows) -> Finding:
    """Find the largest share of rarest neurons that can go, on each data set."""
    table = []
    leads: dict[tuple[str, str], list[float]] = {
        ("rarest", "at once"): [],
        ("rarest", "trained"): [],
        ("random", "at once"): [],
    }
    held: dict[str, str] = {}
    half = True
    by_data: dict[str, list[dict[str, Any]]] = {}
    for cell, found in rows:
        by_data.setdefault(cell["data"], []).append(found)
    shares = sorted(rows[0][0]["shares"])
    middle = shares[len(shares) // 2]
    for data, seeds in by_data.items():
        can: dict[str, list[float]] = {when: [] for when in WHEN}
        for share in shares:
            for when in WHEN:
                lost = {
                    way: [seed["dense"] - seed[f"{share:g}"][way][when] for seed in seeds]
                    for way in WAYS
                }
                table.append((data, f"{100 * share:g}", when, *map(spread, lost.values())))
                if fmean(lost["rarest"]) <= LITTLE < fmean(lost["random"]):
                    can[when].append(share)
                for way in WAYS:
                    if share == middle and (way, when) in leads:
                        leads[way, when].append(-fmean(lost[way]))
        never = fmean(seed["never"]["share"] for seed in seeds)
        lost_by_never = fmean(seed["dense"] - seed["never"]["at once"] for seed in seeds)
        for when, ending in WHEN.items():
            if can[when]:
                most = f"{100 * max(can[when]):g} %"
                held.setdefault(data, f"for the {most} that fire rarest{ending}")
        if never and lost_by_never <= NOTHING:
            held.setdefault(data, "for neurons that never fire")
        half &= max(can["at once"], default=0.0) >= HALF
    if half:
        verdict = "holds"
    elif not held:
        verdict = "does not hold"
    elif len(held) == len(by_data) and len(set(held.values())) == 1:
        verdict = f"holds only {held[data]}"
    else:
        parts = [f"{condition} on {data}" for data, condition in held.items()]
        verdict = "holds only " + " and ".join(parts)
    rarest, trained, chance = (points(*of_way) for of_way in leads.values())
    result = (
        f"On {' and on '.join(by_data)}, accuracy without the {100 * middle:g} % of hidden neurons "
        f"that fire rarest is {rarest} the whole network's, and {trained} after further training. "
        f"Without as many random neurons it is {chance} at once."
    )
    headings = ("data", "cut, %", "points lost", *WAYS)
    return Finding(verdict, result, headings, table)
