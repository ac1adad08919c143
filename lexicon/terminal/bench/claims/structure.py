"""Single weights keep more accuracy but no speed; pruned neurons are faster everywhere.

A network (64-64-10 on the digits, 784-300-100-10 on 20,000 images of Fashion-MNIST) is trained.
From each hidden layer 50, 80, 90 and 95 % of the neurons are removed, those with the smallest
product of the norms of weights in and out: structured. Unstructured removes single weights of the
smallest magnitude, all layers ranked together, until as many are left: so both have as many
weights, which is also as many FLOPs of a forward pass. Both are then trained for a quarter as many
epochs. Five seeds. Seconds of a forward pass are measured on one thread at batches of 1 and 128, on
784-300-100-10 and 784-1000-1000-1000-10, untrained: dense, structured, and unstructured as CSR, in
turns, medians.

The first half of the claim is true if mean accuracy after training is at no share more than half a
point behind structured pruning's, and on each data set somewhere more than one point ahead. No
speed is at least 0.9 times the dense network's seconds; faster is at most 0.9 times, and fewer
seconds than unstructured. The claim holds if the first half is true, and structured pruning is
faster and unstructured is not, at all shares, batches and sizes. If that fails for unstructured
only, it holds only at those batches and down to those shares of neurons where unstructured pruning
brings no speed. Otherwise it does not hold.
"""

from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.sparsity.structured_prune import neuron_scores, remove_neurons
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.claims.speed import forward_seconds
from lexicon.terminal.bench.training import fit, load

CONCERNS = ("structured_prune", "magnitude_prune", "global_prune", "sparse_vs_dense")
TIMED = True
REMOVED = [0.5, 0.8, 0.9, 0.95]
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "removed": REMOVED,
        "seed": seed,
    }
    for data, samples, sizes, epochs in (
        ("digits", None, [64, 64, 10], 20),
        ("fashion-mnist", 20_000, [784, 300, 100, 10], 8),
    )
    for seed in range(5)
] + [
    {"batch": batch, "sizes": sizes, "removed": REMOVED, "rounds": rounds, "seed": 0}
    for sizes, rounds in (([784, 300, 100, 10], 101), ([784, 1000, 1000, 1000, 10], 31))
    for batch in (1, 128)
]
WAYS = ("unstructured", "structured")
BEHIND, AHEAD = 0.005, 0.01
FASTER = 0.9


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Prune in both ways, then train further and test, or time forward passes."""
    rng = np.random.default_rng(cell["seed"])
    network = mlp(cell["sizes"], rng=rng)
    if "batch" in cell:
        return _timed(network, cell, rng)
    data = load(cell["data"], rng=rng, samples=cell["samples"])
    found: dict[str, Any] = {"dense": fit(network, data, epochs=cell["epochs"], rng=rng)[-1]}
    for removed in cell["removed"]:
        both = _pruned(network, removed)
        found[f"{removed:g}"] = {
            "weights": {way: network_cost(pruned).connections for way, pruned in both.items()},
            "forward_flops": {
                way: network_cost(pruned).forward_flops for way, pruned in both.items()
            },
            "accuracy": {
                way: fit(pruned, data, epochs=cell["epochs"] // 4, rng=rng)[-1]
                for way, pruned in both.items()
            },
        }
    return found


def judge(rows: Rows) -> Finding:
    """Compare accuracies, then seconds, then say where both halves are true."""
    leads: dict[str, list[float]] = {}
    table: list[tuple[str, ...]] = []
    for data in dict.fromkeys(cell["data"] for cell, _ in rows if "data" in cell):
        seeds = [(cell, found) for cell, found in rows if cell.get("data") == data]
        dense = spread([found["dense"] for _, found in seeds])
        table.append((f"accuracy, %, {data}", "", "0", dense, dense))
        for removed in seeds[0][0]["removed"]:
            reads = {
                way: [found[f"{removed:g}"]["accuracy"][way] for _, found in seeds] for way in WAYS
            }
            leads.setdefault(data, []).append(fmean(reads[WAYS[0]]) - fmean(reads[WAYS[1]]))
            pair = map(spread, reads.values())
            table.append((f"accuracy, %, {data}", "", f"{100 * removed:g}", *pair))
    accurate = all(min(own) >= -BEHIND and max(own) > AHEAD for own in leads.values())
    timed = [
        (cell["batch"], removed, max(cell["sizes"][1:-1]), *_ratios(found, removed))
        for cell, found in rows
        if "batch" in cell
        for removed in cell["removed"]
    ]
    fast = all(small <= FASTER and small < sparse for *_, sparse, small in timed)
    no_speed = {
        batch: _until(
            {
                removed: min(one[3] for one in timed if one[:2] == (batch, removed))
                for removed in sorted({one[1] for one in timed if one[0] == batch})
            }
        )
        for batch in dict.fromkeys(one[0] for one in timed)
    }
    kept = [f"{left:g} % at batch size {batch}" for batch, left in no_speed.items() if left]
    if accurate and fast and all(sparse >= FASTER for *_, sparse, _ in timed):
        verdict = "holds"
    elif accurate and fast and kept:
        verdict = f"holds only down to this share of the neurons: {listed(kept)}"
    else:
        verdict = "does not hold"
    for batch, removed, width, *ratios in timed:
        percents = (f"{100 * ratio:.1f}" for ratio in ratios)
        what = f"seconds, % of dense, width {width}"
        table.append((what, str(batch), f"{100 * removed:g}", *percents))
    all_leads = [lead for own in leads.values() for lead in own]
    single, neurons = (
        f"{100 * min(own):.0f} to {100 * max(own):.0f} %"
        for own in zip(*(one[3:] for one in timed), strict=True)
    )
    result = (
        "With as many weights left, accuracy after removing single weights is between "
        f"{points(min(all_leads), max(all_leads))} that after removing whole neurons. A forward "
        f"pass takes {single} of the dense network's seconds if single weights are gone, and "
        f"{neurons} if neurons are."
    )
    headings = ("measured", "batch", "neurons removed, %", *WAYS)
    return Finding(verdict, result, headings, table)


def _pruned(network: Sequential, removed: float) -> dict[str, Sequential]:
    """Remove a share of the hidden neurons, and single weights until as many are left."""
    small = remove_neurons(network, layer_masks(neuron_scores(network), removed))
    left = network_cost(small).connections / network_cost(network).connections
    sparse = prune_network(network, global_masks(magnitude_scores(network), 1 - left))
    return dict(zip(WAYS, (sparse, small), strict=True))


def _timed(network: Sequential, cell: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Time the dense network and all that is made of it, in turns."""
    networks = {"dense": network}
    for removed in cell["removed"]:
        for way, pruned in _pruned(network, removed).items():
            networks[f"{removed:g} {way}"] = pruned
    x = rng.standard_normal((cell["batch"], cell["sizes"][0]), dtype=np.float32)
    return dict(forward_seconds(networks, x, rounds=cell["rounds"]))


def _ratios(found: dict[str, Any], removed: float) -> list[float]:
    """Return the seconds of both ways over the dense network's."""
    return [found[f"{removed:g} {way}"] / found["dense"] for way in WAYS]


def _until(ratios: dict[float, float]) -> float:
    """Return the per cent of neurons down to which no ratio is faster; 0 if the first one is."""
    left = 0.0
    for removed, ratio in ratios.items():
        if ratio < FASTER:
            break
        left = round(100 * (1 - removed), 6)
    return left
