"""Sparse networks are faster at inference and in training.

Networks 784-w-w-w-10 are run on batches of 1, 8 and 128 random samples, with w = 300, 1000 and
3000, dense and as CSR with 50 to 99 % of every layer's weights left out. Inference is a forward
pass; a training step is forward, loss, backward and the update of momentum. Both networks take
turns in one process, on one thread. Each runs twice a turn and the second run counts; the first two
turns do not. Seconds are medians. The crossing is the sparsity from which on the sparse network
takes fewer seconds than the dense one, on a straight line between two measurements; 50 % where it
does so throughout.

The claim holds if every crossing, of all widths and batches, in inference and in training, lies at
or below 80 %, the sparsity that pruning is commonly said to reach. Otherwise it holds only from the
highest crossing of each batch on, rounded up to whole per cent, at those batches where both are
faster at every width by 99 % at the latest. It does not hold if there is no such batch.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from math import ceil, inf, isinf
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.sparse_vs_dense import crossover
from lexicon.terminal.bench.claims import Finding, Rows, listed
from lexicon.terminal.bench.steps import measure_steps
from lexicon.terminal.bench.turns import take_turns, timed

CONCERNS = ("sparse_vs_dense", "csr_layer", "sparsity", "sparse_from_scratch")
TIMED = True
CELLS = [
    {"width": width, "batch": batch, "sparsity": sparsity, "rounds": rounds}
    for width, rounds in ((300, 51), (1000, 11), (3000, 5))
    for batch in (1, 8, 128)
    for sparsity in (0.5, 0.8, 0.9, 0.95, 0.99)
]
SOON = 0.8
KINDS = ("inference", "training")


def contestants(width: int, sparsity: float) -> dict[str, Sequential]:
    """Build the dense and the CSR network, every layer equally sparse."""
    rng = np.random.default_rng(0)
    sizes = [784, width, width, width, 10]
    counts = [round((1 - sparsity) * n_in * n_out) for n_in, n_out in pairwise(sizes)]
    return {"dense": mlp(sizes, rng=rng), "csr": mlp_of_counts(sizes, counts, rng=rng)}


def forward_seconds(
    networks: Mapping[str, Sequential], x: np.ndarray, *, rounds: int
) -> dict[str, float]:
    """Time a forward pass of each network, in turns on one thread: the median of `rounds`."""
    for network in networks.values():
        for layer in network.layers:
            if isinstance(layer, CSRLinear):
                layer.threads = 1
    passes = {name: timed(partial(network.forward, x)) for name, network in networks.items()}
    with threadpool_limits(1):
        seconds = take_turns(passes, rounds=rounds)
    return {name: median(times) for name, times in seconds.items()}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Time inference and training steps of the dense and the CSR network."""
    steps = measure_steps(
        [cell["sparsity"]],
        width=cell["width"],
        batch=cell["batch"],
        threads=1,
        rounds=cell["rounds"],
        after_round=lambda: None,
    )
    step = {row["contestant"]: row["median_s"] for row in steps if row["phase"] == "step"}
    networks = contestants(cell["width"], cell["sparsity"])
    x = np.random.default_rng(0).standard_normal((cell["batch"], 784), dtype=np.float32)
    return {
        "inference": forward_seconds(networks, x, rounds=2 * cell["rounds"]),
        "training": {name: step[name] for name in networks},
    }


def judge(rows: Rows) -> Finding:
    """Find where each pair of seconds crosses, and the last crossing of each batch."""
    ratios: dict[tuple[int, int], dict[str, dict[float, float]]] = {}
    for cell, found in rows:
        own = ratios.setdefault((cell["width"], cell["batch"]), {kind: {} for kind in KINDS})
        for kind in KINDS:
            own[kind][cell["sparsity"]] = found[kind]["csr"] / found[kind]["dense"]
    crossings = {
        pair: {kind: _crossing(own[kind]) for kind in KINDS} for pair, own in ratios.items()
    }
    batches = {
        batch: max(
            crossing
            for (_, of_batch), own in crossings.items()
            if of_batch == batch
            for crossing in own.values()
        )
        for batch in dict.fromkeys(batch for _, batch in crossings)
    }
    crossed = {batch: worst for batch, worst in batches.items() if not isinf(worst)}
    if max(batches.values()) <= SOON:
        verdict = "holds"
    elif crossed:
        verdict = "holds only " + listed(
            [f"from {_up(last)} % sparsity on at batch size {n}" for n, last in crossed.items()]
        )
    else:
        verdict = "does not hold"
    first, last = (_where([own[kind] for own in crossings.values()]) for kind in KINDS)
    at_90 = {kind: [100 * own[kind][0.9] for own in ratios.values()] for kind in KINDS}
    seconds = " and ".join(f"{min(own):.0f} to {max(own):.0f} %" for own in at_90.values())
    result = (
        f"Of {len(ratios)} combinations of layer width and batch size, sparse inference is faster "
        f"than dense in {first}, and training in {last}. At 90 % sparsity inference and training "
        f"take {seconds} of the dense seconds."
    )
    table = [
        (
            str(batch),
            str(width),
            *(_written(crossings[width, batch][kind]) for kind in KINDS),
            *(f"{ratios[width, batch][kind][0.9]:.2f}" for kind in KINDS),
        )
        for width, batch in sorted(ratios, key=lambda pair: pair[::-1])
    ]
    headings = (
        "batch",
        "width",
        *(f"{kind} faster from, %" for kind in KINDS),
        *(f"{kind} at 90 %, of dense" for kind in KINDS),
    )
    return Finding(verdict, result, headings, table)


def _crossing(ratios: dict[float, float]) -> float:
    """Return the sparsity from which on the ratio is below 1: the lowest at best, else infinity."""
    meets = crossover(list(ratios), list(ratios.values()))
    if meets is not None:
        return meets
    return inf if ratios[max(ratios)] >= 1 else min(ratios)


def _where(crossings: list[float]) -> str:
    """Write how many cross, and where the first and the last do."""
    up = [_up(crossing) for crossing in crossings if not isinf(crossing)]
    return f"{len(up)} (from {min(up)} to {max(up)} % sparsity on)" if up else "0"


def _up(crossing: float) -> int:
    """Round up to whole per cent."""
    return ceil(round(100 * crossing, 6))


def _written(crossing: float) -> str:
    """Write a crossing in per cent."""
    return "never" if isinf(crossing) else str(_up(crossing))
