"""Says on what a measurement ran, how much memory it took, and whether it would fit."""

import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import scipy

__all__ = ["TooLargeError", "describe", "largest_that_fits", "peak_rss", "require_memory"]


class TooLargeError(Exception):
    """A run that would not fit in memory; the message says what would."""


def describe() -> dict[str, str]:
    """Return the machine, the versions and the date, to stand beside every number.

    Returns
    -------
    dict of str
        ``machine``, ``versions`` and ``date``.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, {blas['name']} {blas['version']}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def peak_rss() -> int:
    """Return the most memory that this process has held so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def require_memory(needed: int, run: str, remedy: Callable[[int], str]) -> None:
    """Refuse a run that would not fit.

    Parameters
    ----------
    needed : int
        Bytes that it will hold at most.
    run : str
        What it is, for the message.
    remedy : callable
        Given the free bytes, says what would fit.

    Raises
    ------
    TooLargeError
        If less is free.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        raise TooLargeError(
            f"{run} needs about {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free; "
            + remedy(free)
        )


def largest_that_fits(needed: Callable[[int], int], free: int) -> int:
    """Return the largest size whose need is at most `free`, to two digits.

    Parameters
    ----------
    needed : callable
        Bytes by size; growing.
    free : int
        Bytes.

    Returns
    -------
    int
        0 if not even one fits.
    """
    fits, too_large = 0, 1
    while needed(too_large) <= free:
        fits, too_large = too_large, 2 * too_large
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        fits, too_large = (middle, too_large) if needed(middle) <= free else (fits, middle)
    digits = 10 ** max(len(str(fits)) - 2, 0)
    return fits // digits * digits


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
