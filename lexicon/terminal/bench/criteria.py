"""Lets every pruning criterion choose from the same network, and trains on what each leaves."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon import __version__
from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.activation_prune import activation_scores
from lexicon.sparsity.global_prune import (
    global_masks,
    layer_masks,
    neuron_masks,
    prune_network,
    random_scores,
)
from lexicon.sparsity.grasp import grasp_scores
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.movement_prune import MovementLinear, movement_scores
from lexicon.sparsity.optimal_brain_surgeon import obs_scores
from lexicon.sparsity.snip import snip_scores
from lexicon.sparsity.synflow import synflow_masks, synflow_scores
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.sparsity.wanda import wanda_scores
from lexicon.terminal.bench.machine import describe
from lexicon.terminal.bench.sweep import run_sweep
from lexicon.terminal.bench.training import Data, fit, load
from lexicon.training.training_loop import accuracy

__all__ = [
    "CRITERIA",
    "OWN",
    "RATES",
    "SETTINGS",
    "criteria_cells",
    "measure_criteria",
    "prune_cell",
    "summarise",
]

Arrays = dict[str, np.ndarray]

# In the order of what they look at: nothing, weights, inputs, gradients, a whole training.
CRITERIA = (
    "random",
    "magnitude",
    "SynFlow",
    "activation",
    "Wanda",
    "OBS",
    "Taylor",
    "SNIP",
    "GraSP",
    "movement",
)
# Those that were published with another competition than that within a layer.
OWN = ("magnitude", "SynFlow", "Wanda", "Taylor", "SNIP", "GraSP")
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"sizes": [64, 64, 10], "samples": None, "epochs": 20, "further": 5, "batch": 64},
    "fashion-mnist": {
        "sizes": [784, 300, 100, 10],
        "samples": 5_000,  # of the training images
        "epochs": 10,
        "further": 3,
        "batch": 128,
    },
}
SCORED = 1000  # training samples that a criterion looks at
# Learning rates of the dense network, of all that are trained on, and of those that are pruned
# before they are trained: chosen of 0.02, 0.05, 0.1 and 0.2 on a sixth of the training images of
# other seeds, kept apart.
DENSE, FURTHER = 0.1, 0.2
RATES = {
    "dense": DENSE,
    "random": 0.2,
    "magnitude": 0.2,
    "SynFlow": 0.2,
    "SNIP": 0.1,
    "GraSP": 0.02,
}


def measure_criteria(
    data: Sequence[str],
    *,
    sparsities: Sequence[float],
    seeds: int,
    jobs: int,
    results: Path,
    after_cell: Callable[[], None],
) -> list[dict[str, Any]]:
    """Prune one trained and one untrained network of each seed by every criterion.

    Parameters
    ----------
    data : sequence of str
        Of `SETTINGS`.
    sparsities : sequence of float
        Shares of the weights to remove, in (0, 1).
    seeds : int
        How many networks.
    jobs, results, after_cell
        As `run_sweep` takes them.

    Returns
    -------
    list of dict
        A cell's description and result for each network, criterion and kind of masks.
    """
    cells = criteria_cells(data, sparsities=sparsities, seeds=seeds)
    found = run_sweep(
        prune_cell, cells, results=results, jobs=jobs, cluster=None, after_cell=after_cell
    )
    return [cell | result for cell, result in zip(cells, found, strict=True)]


def criteria_cells(
    data: Sequence[str], *, sparsities: Sequence[float], seeds: int
) -> list[dict[str, Any]]:
    """List what `measure_criteria` runs.

    Parameters
    ----------
    data, sparsities, seeds
        As `measure_criteria` takes them.

    Returns
    -------
    list of dict
        The cells of one network stand together.
    """
    contestants = [("dense", "layer"), *((name, "layer") for name in CRITERIA)]
    contestants += [(name, "own") for name in OWN]
    return [
        {
            "data": name,
            "seed": seed,
            "start": start,
            "criterion": criterion,
            "masks": masks,
            "sparsities": [0.0] if criterion == "dense" else list(sparsities),
            "dense_rate": DENSE,
            "rate": FURTHER if start == "trained" else RATES[criterion],
            "scored": SCORED,
            "lexicon": __version__,
            **SETTINGS[name],
        }
        for name in data
        for seed in range(seeds)
        for start in ("trained", "untrained")
        for criterion, masks in contestants
        if start == "trained" or criterion in RATES
    ]


def prune_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """Prune a network by one criterion, and train what is left, on one BLAS thread.

    Parameters
    ----------
    cell : dict
        One of `criteria_cells`.

    Returns
    -------
    dict
        ``pruned``, for each sparsity the ``accuracy`` at once and after training and the
        ``connections`` of each layer, and the machine.
    """
    trained = cell["start"] == "trained"
    with threadpool_limits(1):
        dense, data = _network(
            cell["data"],
            cell["seed"],
            tuple(cell["sizes"]),
            cell["samples"],
            cell["epochs"] if trained else 0,
            cell["batch"],
            cell["dense_rate"],
        )
        scores = None if cell["criterion"] == "dense" else _scores(cell, dense, data)
        pruned = []
        for sparsity in cell["sparsities"]:
            network = prune_network(dense, _masks(cell, dense, scores, sparsity) if scores else {})
            at_once = accuracy(network, *data[2:])
            _fit(cell, network, data, epochs=cell["further"] + (0 if trained else cell["epochs"]))
            pruned.append(
                {
                    "sparsity": sparsity,
                    "accuracy": [at_once, accuracy(network, *data[2:])],
                    "connections": [
                        weight.size for name, weight in network.params.items() if "weight" in name
                    ],
                }
            )
    return {"pruned": pruned, **describe()}


def summarise(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average the seeds of each criterion and sparsity.

    Parameters
    ----------
    cells : sequence of dict
        What `measure_criteria` returned.

    Returns
    -------
    list of dict
        Accuracy at once and after training, each with its sample standard deviation.
    """
    groups: dict[tuple[Any, ...], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for cell in cells:
        for pruned in cell["pruned"]:
            key = tuple(cell[name] for name in ("data", "start", "masks", "criterion"))
            groups.setdefault((*key, pruned["sparsity"]), []).append((cell, pruned))
    rows = []
    for (data, start, masks, criterion, sparsity), group in groups.items():
        first = group[0][0]
        row = {
            "data": data,
            "start": start,
            "masks": masks,
            "criterion": criterion,
            "sparsity": sparsity,
        }
        for number, read in enumerate(("at_once", "trained")):
            seen = [pruned["accuracy"][number] for _, pruned in group]
            row |= {read: fmean(seen), f"{read}_std": stdev(seen) if len(seen) > 1 else 0.0}
        row |= {"seeds": len(group), "epochs": first["epochs"], "further": first["further"]}
        rows.append(row | {key: first[key] for key in ("machine", "versions", "date")})
    return rows


@lru_cache(maxsize=1)
def _network(
    data: str,
    seed: int,
    sizes: tuple[int, ...],
    samples: int | None,
    epochs: int,
    batch: int,
    learning_rate: float,
) -> tuple[Sequential, Data]:
    """Return the network that all criteria of a seed choose from, and its data: made once."""
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = load(data, rng=rng, samples=samples)
    # Back to black is 0 and white is 1: activation pruning counts zeros, and no pixel is a bias.
    black, white = x.min(), x.max()
    found = ((x - black) / (white - black), labels, (x_test - black) / (white - black), labels_test)
    network = mlp([*sizes], rng=rng)
    if epochs:
        fit(
            network,
            found,
            epochs=epochs,
            rng=rng,
            learning_rate=learning_rate,
            batch_size=batch,
        )
    return network, found


def _fit(cell: dict[str, Any], network: Sequential, data: Data, *, epochs: int) -> None:
    """Train on, with the same batches for all criteria of a seed."""
    x, labels, x_test, labels_test = data
    fit(
        network,
        (x, labels, x_test[:1], labels_test[:1]),  # nobody looks until the end
        epochs=epochs,
        rng=np.random.default_rng([cell["seed"], 1]),
        learning_rate=cell["rate"],
        batch_size=cell["batch"],
    )


def _scores(cell: dict[str, Any], network: Sequential, data: Data) -> Arrays:
    x, labels = data[0][: cell["scored"]], data[1][: cell["scored"]]
    match cell["criterion"]:
        case "random":
            return random_scores(network, rng=np.random.default_rng([cell["seed"], 2]))
        case "magnitude":
            return magnitude_scores(network)
        case "SynFlow":
            return synflow_scores(network)
        case "activation":
            return activation_scores(network, x)
        case "Wanda":
            return wanda_scores(network, x)
        case "OBS":
            return obs_scores(network, x)
        case "Taylor":
            return taylor_scores(network, x, labels)
        case "SNIP":
            return snip_scores(network, x, labels)
        case "GraSP":
            return grasp_scores(network, x, labels)
        case "movement":  # of a copy, which is trained for it and then thrown away
            layers = [MovementLinear(n) if isinstance(n, Linear) else n for n in network.layers]
            copy = Sequential(layers)
            _fit(cell, copy, data, epochs=cell["further"])
            return movement_scores(copy)
    raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {cell['criterion']!r}")


def _masks(cell: dict[str, Any], network: Sequential, scores: Arrays, sparsity: float) -> Arrays:
    match cell["masks"], cell["criterion"]:
        case "layer", _:
            return layer_masks(scores, sparsity)
        case _, "SynFlow":
            return synflow_masks(network, sparsity)
        case _, "Wanda":
            return neuron_masks(scores, sparsity)
    return global_masks(scores, sparsity)
