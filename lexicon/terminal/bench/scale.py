"""Builds, trains and rewires one very wide sparse network, and counts its memory."""

from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Layer
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import epsilon_counts
from lexicon.sparsity.million_neurons import training_cost, wide_mlp, wide_sizes
from lexicon.sparsity.rewiring import rewire_network
from lexicon.terminal.bench.machine import describe, largest_that_fits, peak_rss, require_memory
from lexicon.training.momentum import Momentum

__all__ = ["measure_scale"]


def measure_scale(
    neurons: int,
    *,
    epsilon: float,
    batch: int,
    threads: int,
    rounds: int,
    rewirings: int,
) -> dict[str, Any]:
    """Measure set-up, training step, rewiring and memory of a network of many neurons.

    The memory is that of the whole process: run it in a new one.

    Parameters
    ----------
    neurons : int
        Hidden neurons, in three layers between 784 inputs and 10 outputs.
    epsilon : float
        Connections for every input and output of a layer.
    batch, threads : int
        Samples of a step; threads of BLAS, and the CSR layers' second one from two on.
    rounds, rewirings : int
        How many steps are timed, after one that is not; how many rewirings.

    Returns
    -------
    dict
        Seconds, and memory in megabytes of 10⁶ bytes: ``data_mb`` is what the process held
        before the network was built, ``peak_mb`` the most it ever held, ``rewired_mb`` what it
        held after the first and the last rewiring.

    Raises
    ------
    TooLargeError
        If the network would not fit in memory.
    """

    def needed(neurons: int) -> int:
        sizes = wide_sizes(max(neurons, 3))
        cost = training_cost(sizes, _counts(sizes, epsilon), batch)
        parts = cost._asdict()
        del parts["flops"]
        # On top: a gradient on its way through a layer, in and out, and what is not returned yet.
        return round(1.1 * sum(parts.values()) + 2 * 4 * max(sizes) * batch)

    require_memory(
        needed(neurons),
        f"a network of {neurons:,} neurons",
        lambda free: f"{largest_that_fits(needed, free):,} neurons would fit",
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 784), dtype=np.float32)
    labels = rng.integers(10, size=batch)
    sizes = wide_sizes(neurons)
    data = psutil.Process().memory_info().rss
    with threadpool_limits(threads):
        start = perf_counter()
        network = wide_mlp(sizes, _counts(sizes, epsilon), rng=rng)
        optimizer = Momentum(network, learning_rate=0.01)
        setup = perf_counter() - start
        layers = [layer for layer in network.layers if isinstance(layer, CSRLinear)]
        for layer in layers:
            layer.threads = min(threads, 2)
        steps, rewires, rewired = [], [], []
        for _ in range(1 + rounds):
            steps.append(_step(network, layers, optimizer, x, labels))
        for _ in range(rewirings):
            start = perf_counter()
            rewire_network(network, optimizer, fraction=0.3, rng=rng)
            rewires.append(perf_counter() - start)
            _step(network, layers, optimizer, x, labels)
            rewired.append(psutil.Process().memory_info().rss)
    connections = sum(layer.weight.nnz for layer in layers)
    return {
        "neurons": sum(sizes[1:-1]),
        "connections": connections,
        "setup_s": setup,
        "step_s": median(steps[1:]),
        "step_min_s": min(steps[1:]),
        "step_max_s": max(steps[1:]),
        "rewire_s": median(rewires),
        "peak_mb": peak_rss() / 1e6,
        "data_mb": data / 1e6,
        "rewired_mb": [rewired[0] / 1e6, rewired[-1] / 1e6],
        "epsilon": epsilon,
        "batch": batch,
        "threads": threads,
        "rounds": rounds,
        **describe(),
    }


def _step(
    network: Layer, layers: list[CSRLinear], optimizer: Momentum, x: np.ndarray, labels: np.ndarray
) -> float:
    loss = CrossEntropy()
    start = perf_counter()
    loss.forward(network.forward(x), labels)
    network.backward(loss.backward())
    optimizer.step()
    for layer in layers:
        layer.grads = {}  # not kept through the next forward, where memory is at its highest
    return perf_counter() - start


def _counts(sizes: list[int], epsilon: float) -> list[int]:
    return epsilon_counts([(n_out, n_in) for n_in, n_out in pairwise(sizes)], epsilon)
