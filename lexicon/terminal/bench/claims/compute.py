"""A sparse layer costs (1 − sparsity) of the dense one: at 80 %, a fifth of the compute remains.

Networks 784-w-w-w-10 take training steps on batches of 128 random samples, with w = 1000 and 3000,
dense and as CSR with 50 to 99 % of every layer's weights left out. Five costs are set in relation
to the dense network's: FLOPs of a forward pass and of a training step, counted from what the layers
really multiply; bytes of the stored weights, indices included; seconds of a forward pass and of a
step. Dense and sparse networks take turns, on one thread. Each takes two steps a turn and the
second counts; the first two turns do not. Seconds are medians. The control is a mask: a dense
network with as many weights held at zero.

A cost keeps to the claim if at every sparsity and width it is at most a tenth larger than the claim
says: at 80 %, at most 22 % of the dense one. The claim holds if all five do, and only for those
that do if some do not. It does not hold if none does.
"""

from typing import Any

from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.claims import Finding, Rows, listed
from lexicon.terminal.bench.claims.speed import contestants
from lexicon.terminal.bench.steps import measure_steps

CONCERNS = ("sparsity", "csr_layer", "sparse_vs_dense", "mask", "sampled_gradient")
TIMED = True
CELLS = [
    {"sparsity": sparsity, "width": width, "batch": 128, "rounds": rounds}
    for width, rounds in ((1000, 11), (3000, 5))
    for sparsity in (0.5, 0.8, 0.9, 0.95, 0.99)
]
TOLERANCE = 0.1
COSTS = {
    "forward_flops": "FLOPs of a forward pass",
    "step_flops": "FLOPs of a training step",
    "bytes": "bytes",
    "forward_seconds": "seconds of a forward pass",
    "step_seconds": "seconds of a training step",
}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Count and time CSR and masked networks, as shares of the dense one's costs."""
    rows = measure_steps(
        [cell["sparsity"]],
        width=cell["width"],
        batch=cell["batch"],
        threads=1,
        rounds=cell["rounds"],
        after_round=lambda: None,
    )
    of = {(row["contestant"], row["phase"]): row for row in rows}
    forward, step = of["csr", "forward"], of["csr", "step"]
    whole = of["dense", "step"]
    costs = {
        name: network_cost(net)
        for name, net in contestants(cell["width"], cell["sparsity"]).items()
    }
    return {
        "forward_flops": costs["csr"].forward_flops / costs["dense"].forward_flops,
        "step_flops": step["flops_per_step"] / whole["flops_per_step"],
        "bytes": step["weight_bytes"] / whole["weight_bytes"],
        "forward_seconds": 1 / forward["speedup_vs_dense"],
        "step_seconds": 1 / step["speedup_vs_dense"],
        "masked_step_seconds": 1 / of["masked", "step"]["speedup_vs_dense"],
        "dense_step_seconds": whole["median_s"],
    }


def judge(rows: Rows) -> Finding:
    """Compare each cost with what the claim leaves of it."""
    keeps = [
        name
        for cost, name in COSTS.items()
        if all(found[cost] <= (1 + TOLERANCE) * (1 - cell["sparsity"]) for cell, found in rows)
    ]
    if len(keeps) == len(COSTS):
        verdict = "holds"
    elif keeps:
        verdict = f"holds only for {listed(keeps)}"
    else:
        verdict = "does not hold"
    at_80 = [found for cell, found in rows if cell["sparsity"] == 0.8]
    left = [f"{100 * max(of[cost] for of in at_80):.0f} % of the {COSTS[cost]}" for cost in COSTS]
    result = (
        "At 80 % sparsity the claim leaves 20 % of every cost. Measured are up to "
        f"{listed(left)}. FLOPs are multiplications and additions."
    )
    table = [
        (
            str(cell["width"]),
            f"{100 * cell['sparsity']:g}",
            *(f"{100 * found[cost]:.1f}" for cost in (*COSTS, "masked_step_seconds")),
        )
        for cell, found in rows
    ]
    headings = (
        "width",
        "sparsity, %",
        "forward FLOPs, %",
        "step FLOPs, %",
        "bytes, %",
        "forward seconds, %",
        "step seconds, %",
        "masked step seconds, %",
    )
    return Finding(verdict, result, headings, table)
