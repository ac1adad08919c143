"""Times attention over all pairs of tokens, and over chosen ones, and counts what it allocates."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from math import isqrt, sqrt
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.sparsity.sparse_attention import SparseAttention, local, strided
from lexicon.terminal.bench.machine import describe
from lexicon.terminal.bench.turns import range_of, take_turns

__all__ = ["CONTESTANTS", "DenseAttention", "dense_bytes", "lengths", "measure_attention"]

CONTESTANTS = ("dense", "local", "local + strided")
SHORTEST = 256
_MEASURED = ("peak_bytes", "median_s", "min_s", "max_s", "forward_s", "speedup_vs_dense")


def lengths(limit: int, features: int) -> Iterator[int]:
    """Double the number of tokens, until dense attention no longer fits.

    Parameters
    ----------
    limit : int
        How many bytes there are.
    features : int
        d, of a query, a key and a value.

    Yields
    ------
    int
        256, 512, …; at the last one dense attention does not fit.
    """
    tokens = SHORTEST
    while dense_bytes(tokens, features) <= limit:
        yield tokens
        tokens *= 2
    yield tokens


def dense_bytes(tokens: int, features: int) -> int:
    """Return what dense attention takes at most: two N × N matrices, and what is N × d."""
    return 4 * (2 * tokens**2 + 12 * tokens * features)


class DenseAttention:
    """Attend over all pairs, with one head, in no more than two N × N matrices.

    Attributes
    ----------
    params, grads : dict
        Empty.
    """

    def __init__(self) -> None:
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return each token's weighted mean of all values.

        Parameters
        ----------
        x : ndarray, shape (N, 3 d)
            Queries, keys and values side by side.

        Returns
        -------
        ndarray, shape (N, d)
            ``P V``.
        """
        q, k, v = np.split(x, 3, axis=1)
        p = q @ k.T
        p /= sqrt(v.shape[1])
        p -= p.max(axis=1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        self._kept = x, p
        return p @ v

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to queries, keys and values.

        Parameters
        ----------
        dy : ndarray, shape (N, d)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, 3 d)
            Side by side, as in `x`.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        (x, p), self._kept = self._kept, None
        q, k, v = np.split(x, 3, axis=1)
        dv = p.T @ dy
        ds = dy @ v.T
        ds -= np.vecdot(p, ds)[:, None]
        ds *= p
        ds /= sqrt(v.shape[1])
        return np.hstack([ds @ k, ds.T @ q, dv])


def measure_attention(
    tokens: int, *, features: int, window: int, limit: int, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Time attention forward and backward in turns, and count the most that it allocates.

    Nobody looks ahead or away: patterns and the dense contestant see both sides. The stride is the
    root of the number of tokens.

    Parameters
    ----------
    tokens : int
        N, how long the sequence is.
    features : int
        d, of a query, a key and a value.
    window : int
        How far `local` looks, to each side.
    limit : int
        Bytes: where `dense_bytes` is more, dense attention is not run.
    threads, rounds : int
        BLAS threads; how often each is timed.

    Returns
    -------
    list of dict
        One row for each contestant. ``peak_bytes`` is what it held at most beside the input, its
        pattern included, and is None, as the seconds are, where it does not fit.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((tokens, 3 * features), dtype=np.float32)
    dy = rng.standard_normal((tokens, features), dtype=np.float32)
    makes: dict[str, Callable[[], DenseAttention | SparseAttention]] = {
        "dense": DenseAttention,
        "local": lambda: SparseAttention(local(tokens, window, causal=False)),
        "local + strided": lambda: SparseAttention(
            local(tokens, window, causal=False) + strided(tokens, isqrt(tokens), causal=False)
        ),
    }
    if dense_bytes(tokens, features) > limit:
        del makes["dense"]
    layers: dict[str, DenseAttention | SparseAttention] = {}
    peaks: dict[str, int] = {}
    with threadpool_limits(threads):
        for name, make in makes.items():
            layers[name], peaks[name] = _traced(make, x, dy)
        passes = {name: partial(_pass, layer, x, dy) for name, layer in layers.items()}
        seconds = take_turns(passes, rounds=rounds)
    medians = {name: median(map(sum, times)) for name, times in seconds.items()}
    rows: list[dict[str, Any]] = []
    for name in CONTESTANTS:
        built = layers.get(name)
        row: dict[str, Any] = {"contestant": name, "tokens": tokens, "pairs": tokens**2}
        row |= dict.fromkeys(_MEASURED)
        if built:
            row["peak_bytes"] = peaks[name]
            row |= range_of([sum(times) for times in seconds[name]])
            row["forward_s"] = median(forward for forward, _ in seconds[name])
            if isinstance(built, SparseAttention):
                row["pairs"] = built.pattern.nnz
            if "dense" in layers:
                row["speedup_vs_dense"] = medians["dense"] / medians[name]
        about = {"features": features, "window": window, "limit_bytes": limit}
        rows.append(row | about | {"threads": threads, "rounds": rounds} | describe())
    return rows


def _traced(
    make: Callable[[], DenseAttention | SparseAttention], x: np.ndarray, dy: np.ndarray
) -> tuple[DenseAttention | SparseAttention, int]:
    """Build a layer, use it once, and return it with the most bytes that this allocated."""
    tracemalloc.start()
    try:
        layer = make()
        _pass(layer, x, dy)
        return layer, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _pass(
    layer: DenseAttention | SparseAttention, x: np.ndarray, dy: np.ndarray
) -> tuple[float, ...]:
    start = perf_counter()
    layer.forward(x)
    forward = perf_counter()
    layer.backward(dy)
    return forward - start, perf_counter() - forward
