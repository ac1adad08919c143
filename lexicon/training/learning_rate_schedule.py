"""A learning rate schedule says how long each step of a training may be.

Long steps forget the start soon, but keep jumping about the minimum; short ones settle, but take
for ever to get there. A decay begins long and ends short. A warm-up comes before it, where the
first slopes are too steep for long steps. With t counted from 0, as `train` counts the steps
that were taken, p = (t - t₀) / (t₁ - t₀) the part of the way that is done, and the peak η₀:

    step decay   η = η₀ · factorᵏ                      k boundaries are at t or before it
    cosine       η = floor + (η₀ - floor)(1 + cos πp) / 2   slow, fast, slow
    warm-up      η = then(t) · (t + 1) / (w + 1)       before w; from there then(t), any schedule

Steps t₁ and w are the first with the last value: the floor, or the full rate. So a cosine whose t₁
is the number of steps in the training wastes none at rate 0, and nor does a warm-up, whose first
step has 1 / (w + 1) of the rate. Restarts and rates that watch the loss are left out.

References
----------
Loshchilov, I., Hutter, F. (2017). SGDR: stochastic gradient descent with warm restarts. ICLR.
Goyal, P., Dollár, P., Girshick, R., Noordhuis, P., Wesolowski, L., Kyrola, A., Tulloch, A.,
    Jia, Y., He, K. (2017). Accurate, large minibatch SGD: training ImageNet in 1 hour. arXiv
    1706.02677.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import cos, inf, pi

__all__ = ["cosine", "step_decay", "warm_up"]


def step_decay(step: int, *, peak: float, at: Sequence[int], factor: float = 0.1) -> float:
    """Return the rate when it drops at a few steps and is constant between them.

    Parameters
    ----------
    step : int
        t, 0 or above: how many steps were taken.
    peak : float
        The rate at first, above 0.
    at : sequence of int
        The first step of each lower rate; ascending, 1 or above.
    factor : float, default 0.1
        What each drop multiplies the rate by, in (0, 1).

    Returns
    -------
    float
        ``peak * factor**k``, where k of the boundaries are `step` or before it.

    Raises
    ------
    ValueError
        If a number is out of range, or `at` is empty or not ascending.
    """
    _check(step, peak)
    if len(at) == 0 or min(at) < 1 or any(later <= sooner for sooner, later in pairwise(at)):
        raise ValueError(f"at must be ascending steps from 1 on, at least one, got {at}")
    if not 0 < factor < 1:
        raise ValueError(f"factor must be in (0, 1), got {factor}")
    return peak * factor ** sum(step >= boundary for boundary in at)


def cosine(step: int, *, peak: float, end: int, start: int = 0, floor: float = 0.0) -> float:
    """Return the rate when it falls along half a wave: slowly at first and at last.

    Parameters
    ----------
    step : int
        t, 0 or above.
    peak : float
        The rate at first, above 0.
    end : int
        t₁, the first step with the rate `floor`; the number of steps of the whole training, if
        none of them is to have it.
    start : int, default 0
        t₀, the last step with the rate `peak`.
    floor : float, default 0.0
        The rate from `end` on, in [0, peak]. With 0 nothing moves there.

    Returns
    -------
    float
        Exactly `peak` up to `start`, exactly `floor` from `end` on.

    Raises
    ------
    ValueError
        If a number is out of range, or `end` is not after `start`.
    """
    _check(step, peak)
    if not 0 <= start < end:
        raise ValueError(f"start must be 0 or above and before end, got {start} and {end}")
    if not 0 <= floor <= peak:
        raise ValueError(f"floor must be 0 to peak, got {floor}")
    if step >= end:
        return floor
    p = max(step - start, 0) / (end - start)
    share = (1 + cos(pi * p)) / 2
    return peak * share + floor * (1 - share)


def warm_up(step: int, *, end: int, then: Callable[[int], float]) -> float:
    """Return the rate of another schedule, but approached in equal increments at first.

    Parameters
    ----------
    step : int
        t, 0 or above.
    end : int
        w, the first step with the full rate, 0 or above: so many steps have less.
    then : callable
        The schedule: takes a step, counted from the start of the training, returns a rate.

    Returns
    -------
    float
        ``then(step)``, before `end` multiplied by ``(step + 1) / (end + 1)``.

    Raises
    ------
    ValueError
        If `step` or `end` is below 0.
    """
    if not step >= 0:
        raise ValueError(f"step must be 0 or above, got {step}")
    if not end >= 0:
        raise ValueError(f"end must be 0 or above, got {end}")
    return then(step) * (step + 1) / (end + 1) if step < end else then(step)


def _check(step: int, peak: float) -> None:
    if not step >= 0:
        raise ValueError(f"step must be 0 or above, got {step}")
    if not 0 < peak < inf:
        raise ValueError(f"peak must be above 0 and finite, got {peak}")
