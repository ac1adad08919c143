"""Times contestants in turns: whatever disturbs one disturbs all."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import TypeVar

__all__ = ["WARM_UP", "range_of", "take_turns", "timed"]

WARM_UP = 2  # rounds that do not count

Name = TypeVar("Name", bound=Hashable)
Read = TypeVar("Read")


def take_turns(
    contestants: Mapping[Name, Callable[[], Read]],
    *,
    rounds: int,
    after_round: Callable[[], None] = lambda: None,
) -> dict[Name, list[Read]]:
    """Run contestants A B C A B C …, each twice, of which the second run counts.

    So each finds its own data in the caches, as in training.

    Parameters
    ----------
    contestants : mapping to callable
        Each runs once and returns its seconds.
    rounds : int
        How many count; `WARM_UP` come before.
    after_round : callable, optional
        Called after each round, those to warm up included.

    Returns
    -------
    dict of list
        By contestant, what it returned in each round that counts.
    """
    reads: dict[Name, list[Read]] = {name: [] for name in contestants}
    for number in range(WARM_UP + rounds):
        for name, run in contestants.items():
            run()
            read = run()
            if number >= WARM_UP:
                reads[name].append(read)
        after_round()
    return reads


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return what runs something and returns its seconds."""

    def seconds() -> float:
        start = perf_counter()
        run()
        return perf_counter() - start

    return seconds


def range_of(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the least and the most, as a row names them."""
    return {"median_s": median(seconds), "min_s": min(seconds), "max_s": max(seconds)}
