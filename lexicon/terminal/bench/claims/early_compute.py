"""Training sparse from scratch avoids the compute that dense training wastes early on.

The same network (784-300-100-10 on 10,000 images of Fashion-MNIST, 64-256-10 on the digits) is
trained in six ways: dense; dense for a quarter of the epochs, then pruned by magnitude, the whole
network ranked together, at once or gradually (cubic, to three quarters of the epochs); and with few
connections from the first step on, static, rewired as in SET, or as in RigL. Sparse ones end at 90
or 98 % sparsity. Each way is trained for 2, 4, 8 and 16 epochs, and from scratch, being cheaper,
for 32 as well; each time with a learning rate that falls to zero. Its start was tuned for each way
before, with other seeds and on training images kept apart. Three seeds.

The accuracy to reach is one point below dense training of 16 epochs. What that takes is read
between the two lengths around it, from means over seeds, along the logarithm of the cost. FLOPs are
those that the layers really take: weight gradients are multiplied in full where connections are
many, and RigL has its dense gradients. Seconds are those of training alone, on one thread.

FLOPs decide. Training from scratch avoids waste, at a sparsity and in a way, if it reaches that
accuracy with at most three quarters of the FLOPs of the cheapest of the three others: dense, and
pruned to that sparsity at once or gradually. The claim holds if it does so in all three ways, at
both sparsities and on both data sets, does not hold if it never does, and otherwise holds only
where it does.
"""

from math import exp, inf, log
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.prune_schedule import cubic, prune_further, share_to_prune
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction, rewire_by_gradient, rigl_flops
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.claims import Finding, Rows, listed
from lexicon.terminal.bench.training import fit, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy

CONCERNS = ("sparse_from_scratch", "sparse_vs_dense", "prune_schedule", "lottery_ticket", "rigl")
TIMED = True
PRUNED = ("pruned at once", "pruned gradually")
FROM_SCRATCH = ("static", "SET", "RigL")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "way": way,
        "sparsities": [0.0] if way == "dense" else [0.9, 0.98],
        "epochs": [2, 4, 8, 16, 32] if way in FROM_SCRATCH else [2, 4, 8, 16],
        "learning_rate": rate,
        "seed": seed,
    }
    for data, samples, sizes, rates in (
        ("digits", None, [64, 256, 10], (0.1, 0.2, 0.2, 0.4, 0.2, 0.2)),
        ("fashion-mnist", 10_000, [784, 300, 100, 10], (0.05, 0.05, 0.05, 0.1, 0.1, 0.1)),
    )
    for way, rate in zip(("dense", *PRUNED, *FROM_SCRATCH), rates, strict=True)
    for seed in range(3)
]
ONE_POINT, AT_MOST = 0.01, 0.75
BATCH, MOVED = 64, 0.3


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train in one way, at each sparsity in each length."""
    rng = np.random.default_rng(cell["seed"])
    x, labels, *apart = load(cell["data"], rng=rng, samples=cell["samples"])
    unseen = (x, labels, x[:1], labels[:1])  # the test images are read once, off the clock
    sizes, way, rate = cell["sizes"], cell["way"], cell["learning_rate"]

    def trained(sparsity: float, epochs: int) -> dict[str, float]:
        flops, clock, end = 0.0, perf_counter(), int(0.75 * epochs)

        def pruned_to(epoch: int) -> float:
            last = first if way == "pruned at once" else max(first, end)
            return cubic(epoch, start=first - 1, end=last, final=sparsity)

        def after_epoch(epoch: int, optimizer: Momentum) -> None:
            nonlocal flops
            flops += network_cost(network).step_flops * len(x)
            epoch += begun
            optimizer.learning_rate = rate * (1 - epoch / epochs)
            share = cosine_fraction(epoch, end=max(end, 1), initial=MOVED)
            if way == "pruned gradually" and first < epoch <= end:
                share = share_to_prune(network, pruned_to(epoch))
                prune_further(network, optimizer, global_masks(magnitude_scores(network), share))
            elif way == "SET":
                rewire_network(network, optimizer, fraction=share, rng=rng)
            elif way == "RigL" and share:
                batch = rng.permutation(len(x))[:BATCH]
                rewire_by_gradient(network, optimizer, x[batch], labels[batch], fraction=share)
                sparse = network_cost(network).forward_flops
                flops += BATCH * rigl_flops(sparse, sparse / (1 - sparsity), interval=0)

        def train_until(epoch: int) -> None:
            how = {"learning_rate": rate * (1 - begun / epochs), "falls": False}
            fit(network, unseen, epochs=epoch - begun, rng=rng, after_epoch=after_epoch, **how)

        begun = first = 0
        if way in FROM_SCRATCH:
            network = sparse_mlp(sizes, density=1 - sparsity, rng=rng)
        else:
            network = mlp(sizes, rng=rng)
            first = epochs if way == "dense" else max(1, epochs // 4)
            train_until(first)
        begun = first
        if first < epochs:
            if first:
                masks = global_masks(magnitude_scores(network), pruned_to(first))
                network = prune_network(network, masks)
            train_until(epochs)
        seconds = perf_counter() - clock
        read = accuracy(network, *apart)
        return {"accuracy": read, "GFLOP": flops / 1e9, "seconds": seconds}

    return {
        f"{sparsity:g}": [trained(sparsity, epochs) for epochs in cell["epochs"]]
        for sparsity in cell["sparsities"]
    }


def judge(rows: Rows) -> Finding:
    """Compare the FLOPs that a way takes to the accuracy with those of the others."""
    table, conditions, everywhere = [], [], True
    said, slower, missed = [], [], []
    for data in dict.fromkeys(cell["data"] for cell, _ in rows):
        cells = (cell for cell, _ in rows if (cell["data"], cell["way"]) == (data, "static"))
        sparsities = [f"{sparsity:g}" for sparsity in next(cells)["sparsities"]]
        dense = _line(rows, data, "dense", "0")
        goal = dense[-1]["accuracy"] - ONE_POINT
        table.append((data, "0", "dense", *_texts(dense, goal), ""))
        for sparsity in sparsities:
            lines = {way: _line(rows, data, way, sparsity) for way in (*PRUNED, *FROM_SCRATCH)}
            costs = {way: _cost(line, "GFLOP", goal) for way, line in lines.items()}
            rival = min(_cost(dense, "GFLOP", goal), *(costs[way] for way in PRUNED))
            percent = f"{100 * float(sparsity):g}"
            for way, line in lines.items():
                share = f"{100 * costs[way] / rival:.0f}" if costs[way] < inf else ""
                table.append((data, percent, way, *_texts(line, goal), share))
            where = f"on {data} at {percent} % sparsity"
            avoids = [way for way in FROM_SCRATCH if costs[way] <= AT_MOST * rival]
            everywhere &= len(avoids) == len(FROM_SCRATCH)
            if avoids:
                ways = "" if len(avoids) == len(FROM_SCRATCH) else f" ({listed(avoids)})"
                conditions.append(where + ways)
            best = min(costs[way] for way in FROM_SCRATCH)
            if best == inf:
                missed.append(where)
                continue
            seconds = min(_cost(lines[way], "seconds", goal) for way in FROM_SCRATCH)
            slower.append(f"{seconds / _cost(dense, 'seconds', goal):.1f}")
            said.append(f"{100 * best / rival:.0f} % {where}")
    if not conditions:
        verdict = "does not hold"
    else:
        verdict = "holds" if everywhere else f"holds only {listed(conditions)}"
    result = "Nowhere does training from scratch come within 1 point of dense training's accuracy."
    if said:
        result = (
            "To come within 1 point of dense training's accuracy, the cheapest training from "
            "scratch takes this share of the FLOPs of the cheapest other one, dense or pruned on "
            f"the way: {listed(said)}. It lasts {listed(slower)} times as long as dense training."
        )
        if missed:
            result += f" It does not get there {listed(missed)}."
    headings = ("data", "sparsity, %", "way", "longest, %", "GFLOP", "seconds", "of best, %")
    return Finding(verdict, result, headings, table)


def _line(rows: Rows, data: str, way: str, sparsity: str) -> list[dict[str, float]]:
    """Average the seeds of each length."""
    seeds = [r[sparsity] for c, r in rows if (c["data"], c["way"]) == (data, way)]
    return [
        {unit: fmean(s[unit] for s in same) for unit in same[0]}
        for same in zip(*seeds, strict=True)
    ]


def _cost(line: list[dict[str, float]], unit: str, goal: float) -> float:
    """Read what it takes to an accuracy, between the two lengths around it."""
    reached = next((i for i, length in enumerate(line) if length["accuracy"] >= goal), None)
    if reached is None:
        return inf
    if reached == 0:
        return line[0][unit]
    low, high = line[reached - 1 : reached + 1]
    share = (goal - low["accuracy"]) / (high["accuracy"] - low["accuracy"])
    return exp((1 - share) * log(low[unit]) + share * log(high[unit]))


def _texts(line: list[dict[str, float]], goal: float) -> tuple[str, ...]:
    """Write the accuracy of the longest training, and what it takes to the goal."""
    costs = [_cost(line, unit, goal) for unit in ("GFLOP", "seconds")]
    longest = f"{100 * line[-1]['accuracy']:.1f}"
    return longest, *(f"{cost:#.3g}" if cost < inf else "never" for cost in costs)
