"""80 to 90 % of the weights can be pruned by magnitude with surprisingly little loss.

A dense network (784-300-100-10 on Fashion-MNIST, 64-64-10 on the digits) is trained, and of all its
weights those of the smallest magnitude are removed, the whole network ranked together. Test
accuracy is read at once, and again after a quarter as many epochs of further training. The control
removes as many weights of each layer at random, and is trained further in the same way. Five seeds.

Little loss is at most 1 point of mean accuracy below the dense network, at 80 and at 90 %. The
claim holds if the loss is little at once, and only with further training if it is little then
alone; where one data set says so and the other does not, it holds only on that one. It does not
hold where the control loses as little, for then magnitude has nothing to do with it.
"""

from itertools import product
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.terminal.bench.claims import Finding, Rows, points, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.training_loop import accuracy

CONCERNS = ("magnitude_prune", "fine_tuning", "global_prune")
CELLS = [
    {"data": data, "sizes": sizes, "epochs": epochs, "sparsities": [0.8, 0.9], "seed": seed}
    for data, sizes, epochs in (
        ("digits", [64, 64, 10], 20),
        ("fashion-mnist", [784, 300, 100, 10], 12),
    )
    for seed in range(5, 10)
]
LITTLE = 0.01
WAYS = ("at once", "trained", "random, trained")


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune by magnitude and at random, train further."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], rng=rng)
    dense = mlp(cell["sizes"], rng=rng)
    found: dict[str, Any] = {"dense": fit(dense, data, epochs=cell["epochs"], rng=rng)[-1]}

    def trained(masks: dict[str, np.ndarray]) -> float:
        network = prune_network(dense, masks)
        return fit(network, data, epochs=cell["epochs"] // 4, rng=rng, learning_rate=0.02)[-1]

    for sparsity in cell["sparsities"]:
        masks = global_masks(magnitude_scores(dense), sparsity)
        drawn = {
            name: rng.permuted(mask.ravel()).reshape(mask.shape) for name, mask in masks.items()
        }
        accuracies = (
            accuracy(prune_network(dense, masks), *data[2:]),
            trained(masks),
            trained(drawn),
        )
        found[f"{sparsity:g}"] = dict(zip(WAYS, accuracies, strict=True))
    return found


def judge(rows: Rows) -> Finding:
    """Compare mean losses with what is little."""
    table = []
    little: dict[str, list[str]] = {"at once": [], "trained": []}
    lost: dict[tuple[str, str], list[float]] = {}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    sparsities = [f"{sparsity:g}" for sparsity in rows[0][0]["sparsities"]]
    for data, sparsity in product(names, sparsities):
        seeds = [result for cell, result in rows if cell["data"] == data]
        losses = {way: [seed["dense"] - seed[sparsity][way] for seed in seeds] for way in WAYS}
        for way in WAYS:
            lost.setdefault((data, way), []).append(fmean(losses[way]))
        dense = spread([seed["dense"] for seed in seeds])
        table.append((data, f"{100 * float(sparsity):g}", dense, *map(spread, losses.values())))
    for when, data in product(little, names):
        if max(lost[data, when]) <= LITTLE < max(lost[data, "random, trained"]):
            little[when].append(data)
    if little["at once"] == names:
        verdict = "holds"
    elif little["trained"] == names:
        verdict = "holds only with further training"
    elif little["trained"]:
        verdict = f"holds only on {little['trained'][0]} and with further training"
    else:
        verdict = "does not hold"
    at_once, trained, chance = (points(*(-lost[data, way][-1] for data in names)) for way in WAYS)
    result = (
        f"On {' and on '.join(names)}, accuracy without {100 * float(sparsities[-1]):g} % of the "
        f"weights is {at_once} the dense network's. After further training it is {trained}, or "
        f"{chance} if the weights were picked at random."
    )
    headings = ("data", "removed, %", "dense, %", *(f"points lost {way}" for way in WAYS))
    return Finding(verdict, result, headings, table)
