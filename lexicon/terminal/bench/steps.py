"""Times training steps of dense, masked and CSR networks in turns."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.constant_fan_in import constant_fan_in
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.machine import describe, largest_that_fits, require_memory
from lexicon.terminal.bench.turns import range_of, take_turns
from lexicon.training.momentum import Momentum

__all__ = ["PHASES", "measure_steps"]

PHASES = ("step", "forward", "backward", "update")
INPUTS, CLASSES = 784, 10


def measure_steps(
    sparsities: Sequence[float],
    *,
    width: int,
    batch: int,
    threads: int,
    rounds: int,
    after_round: Callable[[], None],
) -> list[dict[str, Any]]:
    """Time a momentum step of networks 784-width-width-width-10, in turns.

    Parameters
    ----------
    sparsities : sequence of float
        Of every layer of the masked and CSR contestants, in (0, 1).
    width, batch, threads : int
        Neurons of each hidden layer; samples of a step; BLAS threads, and where there are two or
        more the CSR layers' second one.
    rounds : int
        How often every contestant's step is timed, each after one that is not.
    after_round : callable
        Called after each round, those two included.

    Returns
    -------
    list of dict
        One row for each contestant, sparsity and phase; all sparse rows are compared with the one
        dense network.

    Raises
    ------
    TooLargeError
        If all networks together would not fit in memory.
    """

    def needed(width: int) -> int:
        weights = sum(n_in * n_out for n_in, n_out in pairwise(_sizes(width)))
        masked = 13 * weights  # value, gradient, velocity, and a byte of mask
        csr = sum(2 * 16 * (1 - sparsity) * weights for sparsity in sparsities)
        activations = (1 + 3 * len(sparsities)) * 4 * 9 * width * batch
        return round(12 * weights + masked * len(sparsities) + csr + activations)

    require_memory(
        needed(width),
        f"width {width:,}",
        lambda free: f"width {largest_that_fits(needed, free):,} would fit",
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, INPUTS), dtype=np.float32)
    labels = rng.integers(CLASSES, size=batch)
    with threadpool_limits(threads):
        contestants = {("dense", 0.0): mlp(_sizes(width), rng=rng)}
        for sparsity in sparsities:
            for name, layer in _LAYERS.items():
                contestants[name, sparsity] = _network(layer, width, sparsity, min(threads, 2), rng)
        steps = {
            name: partial(_step, network, Momentum(network, learning_rate=1e-4), x, labels)
            for name, network in contestants.items()
        }
        seconds = take_turns(steps, rounds=rounds, after_round=after_round)
    about = {"threads": threads, "width": width, "batch": batch, "rounds": rounds} | describe()
    rows: list[dict[str, Any]] = []
    dense = list(zip(*seconds["dense", 0.0], strict=True))
    for (name, sparsity), network in contestants.items():
        own = zip(*seconds[name, sparsity], strict=True)
        for phase, whole, times in zip(PHASES, dense, own, strict=True):
            rows.append(
                {
                    "contestant": name,
                    "sparsity": sparsity,
                    "phase": phase,
                    **range_of(times),
                    "speedup_vs_dense": median(whole) / median(times),
                    "weight_bytes": network_cost(network).weight_bytes,
                    "flops_per_step": batch * network_cost(network).step_flops,
                    **about,
                }
            )
    return rows


def _step(
    network: Sequential, optimizer: Momentum, x: np.ndarray, labels: np.ndarray
) -> tuple[float, ...]:
    """Take one step, and return its seconds in the order of `PHASES`."""
    loss = CrossEntropy()
    start = perf_counter()
    logits = network.forward(x)
    forward = perf_counter()
    loss.forward(logits, labels)
    network.backward(loss.backward())
    backward = perf_counter()
    optimizer.step()
    end = perf_counter()
    return end - start, forward - start, backward - forward, end - backward


def _masked(
    shape: tuple[int, int], sparsity: float, threads: int, rng: np.random.Generator
) -> Layer:
    csr = random_csr(shape, _count(shape, sparsity), rng=rng)
    mask = np.zeros(shape, dtype=bool)
    mask[csr.nonzero()] = True
    return MaskedLinear(Linear(csr.toarray()), mask)


def _csr(shape: tuple[int, int], sparsity: float, threads: int, rng: np.random.Generator) -> Layer:
    return CSRLinear(random_csr(shape, _count(shape, sparsity), rng=rng), threads=threads)


def _equal_rows(
    shape: tuple[int, int], sparsity: float, threads: int, rng: np.random.Generator
) -> Layer:
    fan_in = max(round((1 - sparsity) * shape[1]), 1)
    return CSRLinear(constant_fan_in(shape, fan_in, rng=rng), threads=threads)


_LAYERS = {"masked": _masked, "csr": _csr, "csr, equal rows": _equal_rows}


def _network(
    layer: Callable[[tuple[int, int], float, int, np.random.Generator], Layer],
    width: int,
    sparsity: float,
    threads: int,
    rng: np.random.Generator,
) -> Sequential:
    layers: list[Layer] = []
    for n_in, n_out in pairwise(_sizes(width)):
        layers += [layer((n_out, n_in), sparsity, threads, rng), Activation(relu)]
    return Sequential(layers[:-1])


def _sizes(width: int) -> tuple[int, ...]:
    return INPUTS, width, width, width, CLASSES


def _count(shape: tuple[int, int], sparsity: float) -> int:
    return max(round((1 - sparsity) * shape[0] * shape[1]), 1)
