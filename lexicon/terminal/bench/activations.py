"""Times the product after k-winners-take-all: dense, and over the winners alone."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.relu_sparsity import SparseInputLinear, sparse_input_product
from lexicon.terminal.bench.machine import describe, largest_that_fits, require_memory
from lexicon.terminal.bench.turns import range_of, take_turns, timed
from lexicon.training.weight_initialization import he_normal

__all__ = ["SHARES", "WAYS", "measure_activations"]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
WAYS = ("dense", "csr", "finding", "product", "choosing")


def measure_activations(
    batches: Sequence[int],
    *,
    width: int,
    threads: int,
    rounds: int,
    after_share: Callable[[], None],
) -> list[dict[str, Any]]:
    """Time one layer's product with winners, by how many they are, in turns.

    Parameters
    ----------
    batches : sequence of int
        Samples of a product, each measured.
    width, threads : int
        Inputs and outputs of the layer; BLAS threads.
    rounds : int
        How often each way is timed.
    after_share : callable
        Called after each batch and share.

    Returns
    -------
    list of dict
        One row for each batch, share and way: ``dense`` multiplies the zeros, ``csr`` finds what is
        not zero and multiplies that; ``finding`` and ``product`` are its two parts alone, and
        ``choosing`` is k-WTA itself, which comes before either.

    Raises
    ------
    TooLargeError
        If the layer would not fit in memory.
    """

    def needed(width: int) -> int:
        return 2 * 4 * width**2 + 8 * 4 * width * max(batches)

    require_memory(
        needed(width),
        f"width {width:,}",
        lambda free: f"width {largest_that_fits(needed, free):,} would fit",
    )
    rng = np.random.default_rng(0)
    linear = Linear(he_normal(width, width, rng=rng))
    sparse = SparseInputLinear(linear)
    about = {"threads": threads, "width": width, "rounds": rounds} | describe()
    rows: list[dict[str, Any]] = []
    for batch in batches:
        raw = rng.standard_normal((batch, width), dtype=np.float32)
        for share in SHARES:
            k = max(round(share * width), 1)
            multiplied = {"dense": width, "csr": k, "product": k}  # inputs of a sample
            with threadpool_limits(threads):
                seconds = _seconds(raw, k, linear, sparse, rounds)
            medians = {way: median(times) for way, times in seconds.items()}
            rows += [
                {
                    "contestant": way,
                    "active": share,
                    "batch": batch,
                    "phase": "forward",
                    **range_of(seconds[way]),
                    "speedup_vs_dense": medians["dense"] / medians[way],
                    "flops": 2 * batch * width * multiplied.get(way, 0),
                    **about,
                }
                for way in WAYS
            ]
            after_share()
    return rows


def _seconds(
    raw: np.ndarray, k: int, linear: Linear, sparse: SparseInputLinear, rounds: int
) -> dict[str, list[float]]:
    """Time each of `WAYS` in turns."""
    winners, weight = KWinnersTakeAll(k), sparse.params["weight"]
    x = winners.forward(raw)
    found = csr_array(x)
    runs: tuple[Callable[[], object], ...] = (
        lambda: linear.forward(x),
        lambda: sparse.forward(x),
        lambda: csr_array(x),
        lambda: sparse_input_product(found, weight),
        lambda: winners.forward(raw),
    )
    return take_turns(dict(zip(WAYS, map(timed, runs), strict=True)), rounds=rounds)
