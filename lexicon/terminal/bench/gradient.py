"""Times the ways to a sampled gradient on both sides of the density where they cross."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.sparsity.constant_fan_in import constant_fan_in
from lexicon.sparsity.sampled_gradient import blocked, fastest, gathered, gathered_by_row
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.terminal.bench.machine import describe, largest_that_fits, require_memory
from lexicon.terminal.bench.turns import range_of, take_turns, timed

__all__ = ["DENSITIES", "measure_gradient"]

DENSITIES = (0.02, 0.04, 0.06, 0.08, 0.10, 0.14, 0.18, 0.24)


def measure_gradient(
    *, width: int, batch: int, threads: int, rounds: int, after_density: Callable[[], None]
) -> list[dict[str, Any]]:
    """Time one layer's gradient, gathered and blocked in turns, by density.

    Parameters
    ----------
    width, batch, threads : int
        Inputs and outputs of the layer; samples; BLAS threads.
    rounds : int
        How often each way is timed.
    after_density : callable
        Called after each density.

    Returns
    -------
    list of dict
        One row for each density, pattern (random positions, or equal rows) and way. ``chosen``
        says whether the layer takes it by itself.

    Raises
    ------
    TooLargeError
        If the layer would not fit in memory.
    """

    def needed(width: int) -> int:
        return round(max(DENSITIES) * width * width * 40 + 8 * width * (batch + 128))

    require_memory(
        needed(width),
        f"width {width:,}",
        lambda free: f"width {largest_that_fits(needed, free):,} would fit",
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((width, batch), dtype=np.float32).T
    dy = rng.standard_normal((width, batch), dtype=np.float32).T
    about = {"threads": threads, "width": width, "batch": batch, "rounds": rounds} | describe()
    rows: list[dict[str, Any]] = []
    for density in DENSITIES:
        shape, count = (width, width), round(density * width**2)
        for pattern, weight, gathering in (
            ("random", random_csr(shape, count, rng=rng), gathered),
            (
                "equal rows",
                constant_fan_in(shape, max(round(density * width), 1), rng=rng),
                gathered_by_row,
            ),
        ):
            ways: dict[str, Callable[..., np.ndarray]] = {
                "gathered": gathering,
                "blocked": blocked,
            }
            runs = {
                name: timed(partial(way, dy, x, weight.indptr, weight.indices))
                for name, way in ways.items()
            }
            with threadpool_limits(threads):
                seconds = take_turns(runs, rounds=rounds)
            chosen = fastest(shape, weight.indptr)
            rows += [
                {
                    "contestant": name,
                    "pattern": pattern,
                    "density": density,
                    "phase": "gradient",
                    **range_of(seconds[name]),
                    "chosen": way is chosen,
                    **about,
                }
                for name, way in ways.items()
            ]
        after_density()
    return rows
