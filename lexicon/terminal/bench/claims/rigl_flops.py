"""A step of sparse training takes the FLOPs that RigL's formulas say.

Evci and others (2020) count `3 f_S` for a static sparse network, `3 f_D` for a dense one and
`(3 f_S ΔT + 2 f_S + f_D) / (ΔT + 1)` for RigL: f_S and f_D are the FLOPs of their forward pass,
backward takes twice as many, and after every ΔT = 100 steps RigL takes one dense weight gradient.
Here LeNet-300-100 (784-300-100-10) and the benchmark's network (784-1000-1000-1000-10) take a step
and an update, with connections as Erdős–Rényi allots them. What they multiply is counted by
`network_cost`, and in the update by the layers that move.

Two things can differ: above 8 % density a layer multiplies its weight gradient in full, because
that is faster, and the update computes the gradient of existing connections too. Also counted, as a
share of the static step, is *dx*, the gradient with respect to the pictures, which the formula
contains and nobody uses. Biases, activations and the optimiser are left out on both sides. Only
positions are random: one seed.

The formula holds if every count, static, RigL and dense, is within 5 % of it at 80, 90, 95, 98
and 99 % sparsity on both networks; it holds only at those sparsities of those networks where all
three are, and does not hold if there are none.
"""

from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import movable
from lexicon.sparsity.rigl import rewire_by_gradient, rigl_flops
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.claims import Finding, Rows, listed
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

CONCERNS = ("rigl", "sparse_vs_dense", "sampled_gradient")
CELLS = [
    {"network": name, "sizes": sizes, "sparsity": sparsity, "interval": 100, "seed": 0}
    for name, sizes in (
        ("LeNet-300-100", [784, 300, 100, 10]),
        ("784-3×1000-10", [784, 1000, 1000, 1000, 10]),
    )
    for sparsity in (0.8, 0.9, 0.95, 0.98, 0.99)
]
TOLERANCE = 0.05


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Take a step and an update, and count the FLOPs of one sample."""
    rng = np.random.default_rng(cell["seed"])
    dense = mlp(cell["sizes"], rng=rng)
    network = sparse_mlp(cell["sizes"], density=1 - cell["sparsity"], rng=rng)
    optimizer = Momentum(network, learning_rate=0.01)
    x = rng.standard_normal((32, cell["sizes"][0]), dtype=np.float32)
    labels = rng.integers(10, size=32)
    train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
    layers = [layer for layer in network.layers if isinstance(layer, CSRLinear)]
    # A full layer has nowhere to grow, and is spared the dense gradient.
    growing = [layer.weight.shape for layer in layers if movable(layer, 0.3)]
    rewire_by_gradient(network, optimizer, x, labels, fraction=0.3)
    sparse, full = network_cost(network), network_cost(dense)
    growth = sum(2 * n_out * n_in for n_out, n_in in growing)
    interval = cell["interval"]
    mean = rigl_flops(sparse.forward_flops, full.forward_flops, interval=interval)
    return {
        "formula": {
            "static": 3 * sparse.forward_flops,
            "RigL": mean,
            "dense": 3 * full.forward_flops,
        },
        "counted": {
            "static": sparse.step_flops,
            # An update goes forward and all the way back, as a step does, and grows.
            "RigL": sparse.step_flops + growth / (interval + 1),
            "dense": full.step_flops,
        },
        "of pictures": {
            "static": network_cost(network.layers[0]).forward_flops,
            "dense": network_cost(dense.layers[0]).forward_flops,
        },
    }


def judge(rows: Rows) -> Finding:
    """Divide what is counted by what the formula says."""
    table = []
    within: dict[str, list[str]] = {}
    ratios: dict[str, list[float]] = {"static": [], "RigL": [], "dense": [], "gathered": []}
    for cell, found in rows:
        formula, counted = found["formula"], found["counted"]
        ratio = {way: counted[way] / formula[way] for way in formula}
        if all(abs(each - 1) <= TOLERANCE for each in ratio.values()):
            within.setdefault(cell["network"], []).append(f"{100 * cell['sparsity']:g}")
        growth = counted["RigL"] - counted["static"]
        ratio["gathered"] = (formula["static"] + growth) / formula["RigL"]
        for way, each in ratio.items():
            ratios[way].append(each)
        table.append(
            (
                cell["network"],
                f"{100 * cell['sparsity']:g}",
                *(f"{formula[way] / 1000:,.0f}" for way in ("static", "RigL")),
                *(f"{ratio[way]:.2f}" for way in ("static", "RigL")),
                f"{100 * found['of pictures']['static'] / counted['static']:.0f}",
            )
        )
    if sum(map(len, within.values())) == len(rows):
        verdict = "holds"
    elif within:
        verdict = "holds only " + " and ".join(
            f"at {listed(sparsities)} % sparsity of {name}" for name, sparsities in within.items()
        )
    else:
        verdict = "does not hold"
    result = (
        f"A training step takes {_range(ratios['static'])} times the multiplications and additions "
        f"(FLOPs) of the formula with fixed connections, {_range(ratios['RigL'])} times with RigL "
        f"and {_range(ratios['dense'])} times if dense. Without full gradients, which layers with "
        "many connections compute because that is faster, RigL would take "
        f"{_range(ratios['gathered'])} times."
    )
    headings = (
        "network",
        "sparsity, %",
        "3 f_S, kFLOPs",
        "RigL, kFLOPs",
        "static, ×",
        "RigL, ×",
        "dx, %",
    )
    return Finding(verdict, result, headings, table)


def _range(values: list[float]) -> str:
    """Write the least and the largest, once if they read alike."""
    low, high = (f"{end(values):.2f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"
