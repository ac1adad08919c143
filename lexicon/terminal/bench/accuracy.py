"""Trains dense, static sparse and rewired networks with equal budgets, to their final accuracy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon import __version__
from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.machine import describe, largest_that_fits, require_memory
from lexicon.terminal.bench.sweep import run_sweep
from lexicon.terminal.bench.training import load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

__all__ = ["CONTESTANTS", "SETTINGS", "measure_accuracy", "summarise", "train_cell"]

# Learning rates by contestant, and one decay for all: chosen from four or five pairs of 0.05 or 0.1
# with 1e-4, 5e-4 or 1e-3 for each, by one training of 15 epochs, on a sixth of Fashion-MNIST's
# training images that was kept apart, never on its test images.
CONTESTANTS = {"dense": 0.05, "static": 0.05, "rewired": 0.1}
SETTINGS: dict[str, Any] = {
    "width": 1000,
    "batch": 128,
    "beta": 0.9,
    "weight_decay": 5e-4,
    "fraction": 0.3,  # of connections moved after an epoch
    "rewired_until": 0.75,  # of the epochs: the last grown need time to learn
}


def measure_accuracy(
    data: str,
    *,
    contestants: Sequence[str],
    sparsities: Sequence[float],
    seeds: int,
    epochs: int,
    jobs: int,
    cluster: str | None,
    results: Path,
    after_cell: Callable[[], None],
) -> list[dict[str, Any]]:
    """Train every contestant at every sparsity with every seed.

    Parameters
    ----------
    data : str
        ``digits``, ``fashion-mnist`` or ``mnist``.
    contestants : sequence of str
        Of `CONTESTANTS`; dense is trained once for each seed, whatever the sparsities.
    sparsities : sequence of float
        Shares of all weights that do not exist, in (0, 1).
    seeds, epochs : int
        How many of each.
    jobs, cluster, results, after_cell
        As `run_sweep` takes them.

    Returns
    -------
    list of dict
        A cell's description, result and machine for each training.

    Raises
    ------
    TooLargeError
        If as many trainings at once would not fit in memory.
    """
    if cluster is None:
        require_memory(
            _training_bytes(data) * jobs,
            f"{jobs} training{'s' * (jobs > 1)} at once",
            lambda free: (
                f"{largest_that_fits(lambda n: n * _training_bytes(data), free)} would fit"
            ),
        )
    cells: list[dict[str, Any]] = [
        {
            "data": data,
            "contestant": contestant,
            "sparsity": sparsity,
            "seed": seed,
            "epochs": epochs,
            "learning_rate": CONTESTANTS[contestant],
            "lexicon": __version__,
            **SETTINGS,
        }
        for contestant in contestants
        for sparsity in ([0.0] if contestant == "dense" else sparsities)
        for seed in range(seeds)
    ]
    found = run_sweep(
        train_cell, cells, results=results, jobs=jobs, cluster=cluster, after_cell=after_cell
    )
    return [cell | result for cell, result in zip(cells, found, strict=True)]


def train_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """Train one network on one BLAS thread, and look at the test set after every epoch.

    Parameters
    ----------
    cell : dict
        Data, contestant, sparsity, seed, epochs and `SETTINGS`.

    Returns
    -------
    dict
        ``accuracy`` after each epoch, training ``seconds`` until then (without looking), the
        connections, bytes and training FLOPs a sample, and the machine.
    """
    rng = np.random.default_rng(cell["seed"])
    x, labels, x_test, labels_test = load(cell["data"], rng=rng)
    network = _build(cell, x.shape[1], int(labels.max()) + 1, rng)
    optimizer = Momentum(
        network,
        learning_rate=cell["learning_rate"],
        beta=cell["beta"],
        weight_decay=cell["weight_decay"],
    )
    accuracies: list[float] = []
    seconds: list[float] = []
    start = perf_counter()

    def after_epoch(epoch: int) -> None:
        nonlocal start
        optimizer.learning_rate = cell["learning_rate"] * (1 - epoch / cell["epochs"])
        if cell["contestant"] == "rewired" and epoch <= cell["rewired_until"] * cell["epochs"]:
            rewire_network(network, optimizer, fraction=cell["fraction"], rng=rng)
        seconds.append((seconds[-1] if seconds else 0.0) + perf_counter() - start)
        accuracies.append(accuracy(network, x_test, labels_test))
        start = perf_counter()

    with threadpool_limits(1):
        train(
            network,
            optimizer,
            x,
            labels,
            epochs=cell["epochs"],
            batch_size=cell["batch"],
            rng=rng,
            after_epoch=after_epoch,
        )
    cost = network_cost(network)
    return {
        "accuracy": accuracies,
        "seconds": seconds,
        "connections": cost.connections,
        "weight_bytes": cost.weight_bytes,
        "flops_per_sample": cost.step_flops,
        **describe(),
    }


def summarise(trainings: Sequence[dict[str, Any]], target: float) -> list[dict[str, Any]]:
    """Average the seeds of each contestant and sparsity.

    Parameters
    ----------
    trainings : sequence of dict
        What `measure_accuracy` returned.
    target : float
        The accuracy whose time is asked for.

    Returns
    -------
    list of dict
        Final accuracy with its sample standard deviation, training seconds, and the mean
        seconds to the target, None unless every seed reached it.
    """
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for training in trainings:
        groups.setdefault((training["contestant"], training["sparsity"]), []).append(training)
    rows = []
    for (contestant, sparsity), group in groups.items():
        final = [training["accuracy"][-1] for training in group]
        reached = [_seconds_to(training, target) for training in group]
        times = [seconds for seconds in reached if seconds is not None]
        rows.append(
            {
                "contestant": contestant,
                "sparsity": sparsity,
                "accuracy": fmean(final),
                "accuracy_std": stdev(final) if len(final) > 1 else 0.0,
                "seconds": fmean(training["seconds"][-1] for training in group),
                "seconds_to_target": fmean(times) if len(times) == len(group) else None,
                "target": target,
                **{
                    key: group[0][key]
                    for key in ("connections", "weight_bytes", "flops_per_sample", "data", "epochs")
                },
                "seeds": len(group),
                **{key: group[0][key] for key in ("machine", "versions", "date")},
            }
        )
    return rows


def _seconds_to(training: dict[str, Any], target: float) -> float | None:
    for reached, seconds in zip(training["accuracy"], training["seconds"], strict=True):
        if reached >= target:
            return float(seconds)
    return None


def _training_bytes(data: str) -> int:
    """Return about what one training holds: the images twice, a dense network, an interpreter."""
    images = 1797 * 64 if data == "digits" else 70_000 * 784
    return 2 * 4 * images + 200_000_000


def _build(cell: dict[str, Any], inputs: int, classes: int, rng: np.random.Generator) -> Sequential:
    sizes = [inputs, *[cell["width"]] * 3, classes]
    if cell["contestant"] == "dense":
        return mlp(sizes, rng=rng)
    network = sparse_mlp(sizes, density=1 - cell["sparsity"], rng=rng)
    for layer in network.layers:
        if isinstance(layer, CSRLinear):
            layer.threads = 1
    return network
