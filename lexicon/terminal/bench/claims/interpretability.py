"""Sparsity improves interpretability: the remaining connections show which inputs matter.

Beside every pixel stands a copy of it, shuffled over the samples: as bright and as varied, and
without meaning. So it is known which inputs cannot matter: the copies, and pixels that have the
same value in 99 % of the training samples, as at the border. Inputs are ranked by how many
connections they keep in a network *pruned* by magnitude to 90 %, and in one trained with *SET* at
90 %; against that by two readings of the dense network, its *gradient* (the mean size of the slope
of the true class's logit) and that gradient times the input's *deviation*. Shown beside them: path
strengths of the dense network, the deviation alone, the connections of a *static* random network,
and *chance*. Digits with 128-64-10, and 20,000 samples of Fashion-MNIST with 1568-300-100-10; all
train with the same epochs, rate and weight decay, a light one of 0.0005 and a heavy one of 0.005.

A ranking is read twice. *Told apart* is how often an input that varies is ahead of one that cannot
matter (50 % by chance, ties count half). In the deletion test, 25, 50 and 75 % of the inputs are
replaced by their training mean in another dense network, of other first weights; *deletion* is by
how much its test accuracy is higher on average if the least important inputs go than if the most
important do. Five seeds on the digits, three on Fashion-MNIST.

A sparse network's connections show which inputs matter if, on average over seeds, at least 90 % are
told apart, and neither this nor the deletion is more than 2 points below that of the better
reading of the dense network, for otherwise sparsity improves nothing. The claim holds if that is so
for pruned and for SET on both data sets with both decays, and only for those where it is; it does
not hold where static or chance would pass too.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import rankdata

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, prunable_layers, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import cosine_fraction
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_interpretability import input_degrees, path_strengths
from lexicon.terminal.bench.claims import Finding, Rows, listed, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy

CONCERNS = ("sparse_interpretability", "magnitude_prune", "rewiring")
CELLS = [
    {"data": data, "samples": samples, "hidden": hidden, "epochs": epochs, "sparsity": 0.9}
    | {"decay": decay, "seed": seed}
    for data, samples, hidden, epochs, seeds in (
        ("digits", None, [64], 20, 5),
        ("fashion-mnist", 20_000, [300, 100], 6, 3),
    )
    for decay in (0.0005, 0.005)
    for seed in range(10, 10 + seeds)
]
SPARSE, OF_DENSE = ("pruned", "SET"), ("gradient", "gradient × deviation")
WAYS = (*SPARSE, *OF_DENSE, "path strength", "deviation", "static", "chance")
APART, POINTS = 0.9, 0.02


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Rank the inputs in each way, tell them apart, and delete them."""
    rng = np.random.default_rng(cell["seed"])
    x, labels, x_test, labels_test = load(cell["data"], rng=rng, samples=cell["samples"])
    still = (x == np.median(x, axis=0)).mean(axis=0) >= 0.99
    cannot = np.append(still, np.ones(x.shape[1], dtype=bool))
    pixels = np.vstack([x, x_test[:2000]])
    both = np.hstack([pixels, rng.permuted(pixels, axis=0)])
    x, x_test, labels_test = both[: len(x)], both[len(x) :], labels_test[:2000]
    sizes, sparsity, epochs = [x.shape[1], *cell["hidden"], 10], cell["sparsity"], cell["epochs"]
    dense, judging = mlp(sizes, rng=rng), mlp(sizes, rng=rng)
    static, moving = (sparse_mlp(sizes, density=1 - sparsity, rng=rng) for _ in range(2))

    def rewired(epoch: int, optimizer: Momentum) -> None:
        share = cosine_fraction(epoch, end=3 * epochs // 4, initial=0.3)
        rewire_network(moving, optimizer, fraction=share, rng=rng)

    data, decay = (x, labels, x_test, labels_test), cell["decay"]
    fit(dense, data, epochs=epochs, rng=rng, weight_decay=decay)
    fit(judging, data, epochs=epochs, rng=rng, weight_decay=decay)
    fit(moving, data, epochs=epochs, rng=rng, weight_decay=decay, after_epoch=rewired)
    pruned = prune_network(dense, global_masks(magnitude_scores(dense), sparsity))
    dense.forward(x[:2000])
    slope = np.abs(dense.backward(np.eye(10, dtype=x.dtype)[labels[:2000]])).mean(axis=0)
    scores = {
        "pruned": input_degrees(prunable_layers(pruned)["0.weight"]),
        "SET": input_degrees(prunable_layers(moving)["0.weight"]),
        "gradient": slope,
        "gradient × deviation": slope * x.std(axis=0),
        "path strength": path_strengths(dense).sum(axis=0),
        "deviation": x.std(axis=0),
        "static": input_degrees(prunable_layers(static)["0.weight"]),
        "chance": rng.random(len(cannot)),
    }
    found: dict[str, Any] = {"accuracy": accuracy(judging, x_test, labels_test)}
    for way, score in scores.items():
        least_first = np.lexsort((rng.random(len(score)), score))  # among equals, by chance
        reads = {"apart": _told_apart(score, cannot)}
        for end, order in (("least", least_first), ("most", least_first[::-1])):
            accuracies = []
            for share in (0.25, 0.5, 0.75):
                gone = order[: round(share * len(order))]
                without = x_test.copy()
                without[:, gone] = x[:, gone].mean(axis=0)
                accuracies.append(accuracy(judging, without, labels_test))
            reads[end] = fmean(accuracies)
        found[way] = reads
    return found


def judge(rows: Rows) -> Finding:
    """Compare what connections tell with what the dense network tells."""
    table: list[tuple[str, ...]] = []
    settings = list(dict.fromkeys((cell["data"], cell["decay"]) for cell, _ in rows))
    shown: dict[str, list[str]] = {way: [] for way in SPARSE}
    apart: dict[str, list[float]] = {way: [] for way in WAYS}
    deletion: dict[str, list[float]] = {way: [] for way in WAYS}
    for data, decay in settings:
        seeds = [found for cell, found in rows if (cell["data"], cell["decay"]) == (data, decay)]
        for way in WAYS:
            aparts = [seed[way]["apart"] for seed in seeds]
            differences = [seed[way]["least"] - seed[way]["most"] for seed in seeds]
            apart[way].append(fmean(aparts))
            deletion[way].append(fmean(differences))
            table.append((data, f"{decay:g}", way, spread(aparts), spread(differences)))
        bars = [max(reads[way][-1] for way in OF_DENSE) - POINTS for reads in (apart, deletion)]
        passing = [
            way
            for way in WAYS
            if apart[way][-1] >= max(APART, bars[0]) and deletion[way][-1] >= bars[1]
        ]
        if "static" not in passing and "chance" not in passing:
            for way in SPARSE:
                if way in passing:
                    shown[way].append(f"on {data} at weight decay {decay:g}")
    if all(len(names) == len(settings) for names in shown.values()):
        verdict = "holds"
    elif any(shown.values()):
        verdict = "holds only " + ", and ".join(
            f"for {way} networks {listed(names)}" for way, names in shown.items() if names
        )
    else:
        verdict = "does not hold"
    gradients = [max(pair) for pair in zip(*(apart[way] for way in OF_DENSE), strict=True)]
    result = (
        "Ranked by how many connections they have, inputs that can matter come before meaningless "
        f"ones in {_range(apart['pruned'])} % of all pairs in pruned networks and in "
        f"{_range(apart['SET'])} % in networks trained sparse (SET). By a dense network's "
        f"gradients it is {_range(gradients)} %, by chance 50 %."
    )
    headings = ("data", "decay", "ranked by", "told apart, %", "deletion, points")
    return Finding(verdict, result, headings, table)


def _told_apart(scores: np.ndarray, cannot: np.ndarray) -> float:
    """Return how often an input that may matter is ahead of one that cannot."""
    may, not_ = (~cannot).sum(), cannot.sum()
    return float((rankdata(scores)[~cannot].sum() - may * (may + 1) / 2) / (may * not_))


def _range(values: Sequence[float]) -> str:
    """Write the least and the largest of shares, in per cent."""
    return f"{100 * min(values):.1f} to {100 * max(values):.1f}"
