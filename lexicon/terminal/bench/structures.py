"""Times one layer in every storage that sparse weights can have, at equal shares of them."""

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.block_sparsity import BlockLinear, block_mask
from lexicon.sparsity.constant_fan_in import CondensedLinear, constant_fan_in
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.n_m_sparsity import NMLinear, n_m_mask, pack_n_m
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.sparsity.structured_prune import remove_neurons
from lexicon.terminal.bench.machine import describe, largest_that_fits, require_memory
from lexicon.terminal.bench.turns import range_of, take_turns
from lexicon.training.weight_initialization import he_normal

__all__ = ["MULTIPLE", "PHASES", "measure_structures"]

PHASES = ("forward", "backward")
GROUPS, TILES = (4, 8, 16, 32), (4, 16)
MULTIPLE = 32  # of which a width has to be one, so that all groups and tiles fit


def measure_structures(
    sparsities: Sequence[float],
    *,
    width: int,
    batch: int,
    threads: int,
    rounds: int,
    after_round: Callable[[], None],
) -> list[dict[str, Any]]:
    """Time a layer of as many outputs as inputs, forward and backward, in turns.

    Each layer gets its batch in the order that a layer of its kind hands on. The groups of n:m are
    the smallest that make the share exactly; where none of `GROUPS` does, that contestant is left
    out.

    Parameters
    ----------
    sparsities : sequence of float
        Of every contestant but the dense layer, in (0, 1).
    width, batch, threads : int
        Inputs and outputs, a multiple of `MULTIPLE`; samples; BLAS threads, and where there are
        two or more the CSR layers' second one.
    rounds : int
        How often every layer is timed.
    after_round : callable
        Called after each round, those to warm up included.

    Returns
    -------
    list of dict
        One row for each contestant, sparsity and phase; all are compared with the dense layer.

    Raises
    ------
    TooLargeError
        If all layers together would not fit in memory.
    """

    def needed(width: int) -> int:
        stored = sum(1 - sparsity for sparsity in sparsities) * width**2
        activations = (1 + 7 * len(sparsities)) * 4 * 4 * width * batch
        # Dense with its gradient, what masks are chosen by, and seven layers with theirs.
        return round(8 * width**2 + 21 * width**2 + 7 * 12 * stored + activations)

    require_memory(
        needed(width),
        f"width {width:,}",
        lambda free: f"width {largest_that_fits(needed, free) // MULTIPLE * MULTIPLE:,} would fit",
    )
    rng = np.random.default_rng(0)
    with threadpool_limits(threads):
        contestants: dict[tuple[str, float], Layer] = {
            ("dense", 0.0): Linear(he_normal(width, width, rng=rng))
        }
        for sparsity in sparsities:
            for name, layer in _layers(width, sparsity, min(threads, 2), rng).items():
                contestants[name, sparsity] = layer
        passes = {
            name: partial(_pass, layer, *_batches(layer, width, batch, rng))
            for name, layer in contestants.items()
        }
        seconds = take_turns(passes, rounds=rounds, after_round=after_round)
    about = {"threads": threads, "width": width, "batch": batch, "rounds": rounds} | describe()
    rows: list[dict[str, Any]] = []
    dense = list(zip(*seconds["dense", 0.0], strict=True))
    for (name, sparsity), layer in contestants.items():
        own = zip(*seconds[name, sparsity], strict=True)
        for phase, whole, times in zip(PHASES, dense, own, strict=True):
            rows.append(
                {
                    "contestant": name,
                    "sparsity": sparsity,
                    "phase": phase,
                    **range_of(times),
                    "speedup_vs_dense": median(whole) / median(times),
                    "weight_bytes": _bytes(layer),
                    "forward_flops": 2 * batch * layer.params["weight"].size,
                    **about,
                }
            )
    return rows


def _pass(layer: Layer, x: np.ndarray, dy: np.ndarray) -> tuple[float, ...]:
    """Go forward and backward, and return the seconds in the order of `PHASES`."""
    start = perf_counter()
    layer.forward(x)
    forward = perf_counter()
    layer.backward(dy)
    return forward - start, perf_counter() - forward


def _layers(
    width: int, sparsity: float, threads: int, rng: np.random.Generator
) -> dict[str, Layer]:
    """Build each kind of layer, with the same share of weights."""
    shape, share = (width, width), 1 - sparsity
    count = max(round(share * width**2), 1)
    weight, scores = he_normal(width, width, rng=rng), rng.random((width, width))
    equal_rows = constant_fan_in(shape, max(round(share * width), 1), rng=rng)
    layers: dict[str, Layer] = {
        "csr": CSRLinear(random_csr(shape, count, rng=rng), threads=threads),
        "csr, equal rows": CSRLinear(equal_rows, threads=threads),
        "condensed": CondensedLinear(equal_rows),
    }
    m = next((m for m in GROUPS if (share * m).is_integer()), None)
    if m:
        n = int(share * m)
        layers[f"{n}:{m}"] = NMLinear(pack_n_m(weight, n_m_mask(scores, n, m), m))
    for tile in TILES:
        least = (tile / width) ** 2  # one tile
        tiles = block_mask(scores, (tile, tile), min(sparsity, 1 - least))
        bias = np.zeros(width, weight.dtype)
        layers[f"blocks {tile} × {tile}"] = BlockLinear.from_dense(weight, tiles, bias)
    return layers | {"smaller dense": _smaller(Linear(weight), share, rng)}


def _smaller(layer: Linear, share: float, rng: np.random.Generator) -> Layer:
    """Remove neurons before and after a layer, at random, until a share of its weights is left."""
    width = len(layer.params["weight"])
    before, after = Linear(np.ones((width, 1), np.float32)), Linear(np.ones((1, width), np.float32))
    network = Sequential([before, Activation(relu), layer, Activation(relu), after])
    kept = max(round(sqrt(share) * width), 1)
    keep = {name: top_k(rng.random(width), kept) for name in ("0.weight", "2.weight")}
    return remove_neurons(network, keep).layers[2]


def _batches(
    layer: Layer, width: int, batch: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an input and an output's gradient, in the order that suits the layer."""
    if isinstance(layer, Linear):
        n_out, n_in = layer.params["weight"].shape
        x = rng.standard_normal((batch, n_in), dtype=np.float32)
        return x, rng.standard_normal((batch, n_out), dtype=np.float32)
    x_t, dy_t = rng.standard_normal((2, width, batch), dtype=np.float32)
    return x_t.T, dy_t.T


def _bytes(layer: Layer) -> int:
    """Count what the layer holds: values, biases, and where the values stand."""
    weight = getattr(layer, "weight", None)
    where = (getattr(weight, name, None) for name in ("indices", "indptr", "columns", "positions"))
    return sum(a.nbytes for a in (*layer.params.values(), *where) if a is not None)
