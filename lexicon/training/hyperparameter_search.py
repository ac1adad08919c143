"""Hyperparameter search tries settings that training cannot learn, and ranks them by a score.

A learning rate has no gradient of its own, so one trains with several and compares. A grid tries
every combination of a few values: n trials in d dimensions leave only n^(1/d) values for each.
Random trials have n different values in every dimension, whichever of them turns out to matter.
A rate is drawn evenly in its logarithm, because its factors count and not its differences:

    uniform       u = low + (high - low) r         r even in [0, 1)
    log-uniform   u = low · (high / low)^r
    expected best of k, drawn from m measured scores, s₁ ≤ … ≤ sₘ:   Σᵢ sᵢ [(i/m)ᵏ - ((i-1)/m)ᵏ]

The best of many scores is partly the luckiest one: measure the winner on samples that did not
choose it. Searches that learn from their own trials, or stop bad ones early, are left out.

References
----------
Bergstra, J., Bengio, Y. (2012). Random search for hyper-parameter optimization. Journal of
    Machine Learning Research 13.
Cawley, G., Talbot, N. (2010). On over-fitting in model selection and subsequent selection bias in
    performance evaluation. Journal of Machine Learning Research 11.
Dodge, J., Gururangan, S., Card, D., Schwartz, R., Smith, N. (2019). Show your work: improved
    reporting of experimental results. EMNLP.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

__all__ = ["Trial", "expected_best", "grid", "log_uniform", "sample", "search", "uniform"]


@dataclass(frozen=True)
class Trial:
    """One setting and what it scored.

    Parameters
    ----------
    settings : dict
        The values by name.
    score : float
        Higher is better; minus infinity if it diverged.
    """

    settings: dict[str, Any]
    score: float


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """List every combination of a few values; the last name varies fastest.

    Parameters
    ----------
    values : mapping of str to sequence
        What to try for each name, at least one value each.

    Returns
    -------
    list of dict
        One setting for each combination.

    Raises
    ------
    ValueError
        If `values` is empty, or a name has none.
    """
    if not values or any(len(choices) == 0 for choices in values.values()):
        raise ValueError(f"values must name at least one value each, got {dict(values)}")
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Draw evenly between two numbers: for what counts by differences, such as a share.

    Parameters
    ----------
    low, high : float
        The range, finite, `low` below `high`.

    Returns
    -------
    callable
        Takes an rng, returns a number from `low` to `high`.

    Raises
    ------
    ValueError
        If the range is empty or not finite.
    """
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low must be below high, both finite, got {low} and {high}")
    return lambda rng: float(rng.uniform(low, high))


def log_uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Draw evenly in the logarithm: for what counts by factors, such as a rate.

    Parameters
    ----------
    low, high : float
        The range, above 0 and finite, `low` below `high`.

    Returns
    -------
    callable
        Takes an rng, returns a number from `low` to `high`; each factor of ten is as likely.

    Raises
    ------
    ValueError
        If the range is empty, not finite or not above 0.
    """
    if not 0 < low < high < np.inf:
        raise ValueError(f"low must be above 0 and below high, finite, got {low} and {high}")
    draw = uniform(float(np.log(low)), float(np.log(high)))
    return lambda rng: min(max(float(np.exp(draw(rng))), low), high)


def sample(
    ranges: Mapping[str, Callable[[np.random.Generator], Any]], n: int, *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Draw settings at random, each value independently of the others.

    Parameters
    ----------
    ranges : mapping of str to callable
        How to draw each name's value: takes the rng; see `log_uniform`.
    n : int
        How many settings, at least 1. The first ones do not depend on how many follow.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    list of dict
        The settings, n of them.

    Raises
    ------
    ValueError
        If `ranges` is empty or `n` below 1.
    """
    if not ranges:
        raise ValueError("ranges must name at least one value to draw")
    if not n >= 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return [{name: draw(rng) for name, draw in ranges.items()} for _ in range(n)]


def search(score: Callable[..., float], candidates: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Score every setting, and rank them.

    Parameters
    ----------
    score : callable
        Takes a setting's values by name, returns a number; higher is better. Where training
        diverges it may raise `FloatingPointError`, as `train` does, or return NaN.
    candidates : iterable of mapping
        The settings, at least one.

    Returns
    -------
    list of Trial
        Best first; equal scores in the order in which they came, diverged ones last.

    Raises
    ------
    ValueError
        If there are no candidates.
    """
    trials = []
    for settings in candidates:
        try:
            reached = float(score(**settings))
        except FloatingPointError:
            reached = -np.inf
        # NaN is neither above nor below anything: left in, it would scramble the order.
        trials.append(Trial(dict(settings), -np.inf if np.isnan(reached) else reached))
    if not trials:
        raise ValueError("candidates must hold at least one setting, got none")
    return sorted(trials, key=lambda trial: trial.score, reverse=True)


def expected_best(scores: Sequence[float] | np.ndarray, k: int) -> float:
    """Return the expected best of k tries, each one of these scores, all equally likely.

    Parameters
    ----------
    scores : sequence of float, shape (m,)
        What random trials of one method scored, in any order; finite, at least one.
    k : int
        How many tries to allow, at least 1.

    Returns
    -------
    float
        The mean of `scores` for k = 1, close to their maximum for a large k.

    Raises
    ------
    ValueError
        If `scores` is not a vector of finite numbers, or `k` is below 1.
    """
    measured = np.asarray(scores, dtype=np.float64)
    if measured.ndim != 1 or len(measured) == 0 or not np.isfinite(measured).all():
        raise ValueError(f"scores must be a vector of finite numbers, got {scores}")
    if not k >= 1:
        raise ValueError(f"k must be at least 1, got {k}")
    # All k are among the i lowest with probability (i/m)^k; the differences are those of the best.
    below = (np.arange(len(measured) + 1) / len(measured)) ** k
    return float(np.sort(measured) @ np.diff(below))
