"""Pruning redistributes what was learned over the remaining weights.

A dense network (784-300-100-10 on 20,000 samples of Fashion-MNIST, 64-64-10 on the digits) is
trained, and the 90 % of its weights with the smallest magnitude are removed, all layers ranked
together. Pruning alone moves no weight. So everything is read at once and after the further
training that usually follows, a quarter as many epochs. Two controls train as long: a twin that is
not pruned, and the weights that remain with their first values instead of what they had learned.
The latter are trained once more in full, as the dense network was; that decides nothing.
What the first hidden layer sums up before its ReLU is compared with the sums before pruning, as the
share of the squared difference that is gone again; the values that fit the old sums best show how
much the same connections could bring back. Five seeds.

Four signs are looked for on each data set, in means over seeds. The task: more than half of the
lost accuracy is back. The movers: the remaining weights go more than twice as far as the same
weights of the twin. What was learned: first values end more than 1 point lower. The work: more than
half of what the sums lost is back. The claim holds with all four on both data sets. It holds only
for the task and not for the sums where the first three are found, on both data sets or on the one
that is named. Otherwise it does not hold.
"""

from copy import deepcopy
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.fine_tuning import movement, regained, rewind
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.training_loop import accuracy

CONCERNS = ("fine_tuning", "magnitude_prune", "lottery_ticket")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "sparsity": 0.9,
        "seed": seed,
    }
    for data, samples, sizes, epochs in (
        ("digits", None, [64, 64, 10], 20),
        ("fashion-mnist", 20_000, [784, 300, 100, 10], 12),
    )
    for seed in range(5)
]
HALF, FARTHER, LOWER = 0.5, 2, 0.01
READS = {
    "dense": "accuracy of the dense network, %",
    "at once": "of the pruned one, %",
    "trained": "of the pruned one, trained further, %",
    "first values": "of first values, trained as long, %",
    "in full": "of first values, trained in full, %",
    "twin": "of the twin that is not pruned, %",
    "moved": "way of the remaining weights, % of their norm",
    "twin moved": "of the same weights of the twin, %",
    "grew": "growth of their norm, %",
    "twin grew": "of the twin, %",
    "sums": "sums that are back, %",
    "twin's sums": "of the twin, %",
    "possible sums": "with the best values, %",
}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune, train further beside the two controls, and compare sums."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], samples=cell["samples"], rng=rng)
    test = data[2:]
    dense = mlp(cell["sizes"], rng=rng)
    start = deepcopy(dense)
    fit(dense, data, epochs=cell["epochs"], rng=rng)
    masks = global_masks(magnitude_scores(dense), cell["sparsity"])
    pruned = prune_network(dense, masks)
    trained, twin, unmoved, first = (deepcopy(each) for each in (pruned, dense, pruned, pruned))
    rewind(first, start)
    longer = deepcopy(first)
    fit(longer, data, epochs=cell["epochs"], rng=rng)
    for network in (trained, twin, first):
        fit(network, data, epochs=cell["epochs"] // 4, rng=rng, learning_rate=0.02)
    rewind(unmoved, twin)
    moved, of_twin = movement(trained, dense), movement(unmoved, dense)
    networks = (dense, pruned, trained, twin, _fitted(pruned, dense, data[0][:5000]))
    before, cut, *after = (network.layers[0].forward(test[0]) for network in networks)
    sums = (regained(before, cut, each) for each in after)
    return {
        "dense": accuracy(dense, *test),
        "at once": accuracy(pruned, *test),
        "trained": accuracy(trained, *test),
        "first values": accuracy(first, *test),
        "in full": accuracy(longer, *test),
        "twin": accuracy(twin, *test),
        "moved": moved.distance,
        "twin moved": of_twin.distance,
        "grew": moved.growth - 1,
        "twin grew": of_twin.growth - 1,
        **dict(zip(("sums", "twin's sums", "possible sums"), sums, strict=True)),
    }


def judge(rows: Rows) -> Finding:
    """Look for the four signs."""
    gained, sums, first, columns = [], [], [], []
    signs: dict[str, tuple[bool, ...]] = {}
    for data in dict.fromkeys(cell["data"] for cell, _ in rows):
        seeds = [result for cell, result in rows if cell["data"] == data]
        mean = {key: fmean(seed[key] for seed in seeds) for key in READS}
        columns.append([spread([seed[key] for seed in seeds]) for key in READS])
        lost, back = mean["dense"] - mean["at once"], mean["trained"] - mean["at once"]
        behind = mean["first values"] - mean["trained"]
        signs[data] = (
            back > HALF * lost,
            mean["moved"] > FARTHER * mean["twin moved"],
            -behind > LOWER,
            mean["sums"] > HALF,
        )
        gained.append(f"{100 * max(back, 0):.1f} of {100 * lost:.1f} on {data}")
        sums.append(f"{100 * max(mean['sums'], 0):.0f}")
        first.append(behind)
    of_task = [data for data, found in signs.items() if all(found[:3])]
    if all(map(all, signs.values())):
        verdict = "holds"
    elif of_task:
        where = "" if len(of_task) == len(signs) else f"on {of_task[0]} "
        verdict = f"holds only {where}for accuracy, not for what the neurons compute"
    else:
        verdict = "does not hold"
    result = (
        "Of the points of accuracy that pruning lost, further training brings back "
        f"{listed(gained)}, and of what the first hidden neurons computed {listed(sums)} %. "
        f"Started again from their first values, the remaining weights end {points(*first)}."
    )
    table = [
        (READS[key], *each) for key, each in zip(READS, zip(*columns, strict=True), strict=True)
    ]
    return Finding(verdict, result, ("read", *signs), table)


def _fitted(pruned: Sequential, dense: Sequential, x: np.ndarray) -> Sequential:
    """Give the first layer's remaining weights the values that fit the old sums best."""
    fitted = deepcopy(pruned)
    layer = fitted.layers[0]
    assert isinstance(layer, CSRLinear)
    weight, ones = layer.weight, np.ones((len(x), 1), x.dtype)
    target = dense.layers[0].forward(x)
    for row, (a, b) in enumerate(pairwise(weight.indptr)):
        inputs = np.hstack([x[:, weight.indices[a:b]], ones])
        *values, bias = np.linalg.lstsq(inputs, target[:, row], rcond=None)[0]
        weight.data[a:b], layer.params["bias"][row] = values, bias
    return fitted
