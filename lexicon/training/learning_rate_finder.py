"""A learning rate finder raises the rate at every step of one short run and watches the loss.

At first the rate is too low to change anything, then the loss falls, then it explodes: one run
shows all three. From lowest to highest in equal factors, with batch losses Lₜ smoothed by

    aₜ = β aₜ₋₁ + (1 - β) Lₜ           sₜ = aₜ / (1 - βᵗ)           t = 1, 2, …

where dividing takes out the 0 that a starts from. The suggestion is the rate at which s falls
fastest per factor in the rate, not the one at which s is lowest: there, the loss is about to turn.

References
----------
Smith, L. (2017). Cyclical learning rates for training neural networks. WACV.
Kingma, D., Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, count

import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Layer
from lexicon.training.gradient_descent import Optimizer
from lexicon.training.stochastic_gradient_descent import minibatches

__all__ = ["Sweep", "smoothed", "sweep_rates"]

_RISEN = 4  # times the lowest smoothed loss: what counts as exploded


@dataclass(frozen=True)
class Sweep:
    """What a run with rising rates showed.

    Parameters
    ----------
    rates : ndarray, shape (T,)
        The rates in order, up to where the run was stopped.
    raw : ndarray, shape (T,)
        The loss of the next batch, after the step with each rate.
    losses : ndarray, shape (T,)
        The same, smoothed.
    window : int
        About how many losses a smoothed one averages, 1 or more. Slopes are taken over as many
        steps, and the first ones, means of too few, are left out.
    """

    rates: np.ndarray
    raw: np.ndarray
    losses: np.ndarray
    window: int

    @property
    def minimum(self) -> float:
        """Return the rate with the lowest smoothed loss: the edge, not a suggestion."""
        return float(self.rates[self._lowest])

    @property
    def suggestion(self) -> float:
        """Return the rate at which the smoothed loss falls fastest, per factor in the rate."""
        half = max(self.window // 2, 1)
        middles = np.arange(self.window, min(self._lowest + 1, len(self.rates) - half))
        fall = self.losses[middles - half] - self.losses[middles + half]
        if not (fall > 0).any():
            raise ValueError("the loss falls nowhere: sweep from a lower rate, or in more steps")
        # All steps are one factor apart, so the steepest slope is the largest fall.
        return float(self.rates[middles[fall.argmax()]])

    @property
    def _lowest(self) -> int:
        if len(self.losses) <= self.window:
            raise ValueError("the loss exploded at once: sweep from a lower rate")
        return self.window + int(self.losses[self.window :].argmin())


def sweep_rates(
    network: Layer,
    make_optimizer: Callable[[Layer], Optimizer],
    x: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    rng: np.random.Generator,
    lowest: float = 1e-5,
    highest: float = 10.0,
    steps: int = 200,
    smoothing: float = 0.95,
) -> Sweep:
    """Train a copy of a classifier for a moment, each step at a higher rate than the last.

    Parameters
    ----------
    network : Layer
        Returns logits (N, classes). It is copied, and not changed.
    make_optimizer : callable
        Takes the copy and returns an optimiser for it; its rate is set at every step.
    x : ndarray, shape (N, ...)
        Samples.
    labels : ndarray of int, shape (N,)
        Their classes.
    batch_size : int
        As in the training to come, 1 to N: the limit depends on it.
    rng : numpy.random.Generator
        Shuffles.
    lowest, highest : float
        The first rate and the last, above 0.
    steps : int, default 200
        How many rates, 2 or more.
    smoothing : float, default 0.95
        β, in [0, 1): the smoothed loss averages about 1 / (1 - β) losses.

    Returns
    -------
    Sweep
        Shorter than `steps` where a loss was not finite, or the smoothed one rose to more than
        four times its lowest.

    Raises
    ------
    ValueError
        If a number is out of range, `labels` is not (N,), or `x` not finite; nothing is drawn then.
    FloatingPointError
        If the network returned NaN or infinity before the first step.
    """
    if not 0 < lowest < highest < np.inf:
        raise ValueError(f"lowest must be above 0 and below highest, got {lowest} and {highest}")
    if steps < 2:
        raise ValueError(f"steps must be 2 or more, got {steps}")
    _check_smoothing(smoothing)
    if labels.shape != (len(x),):
        raise ValueError(f"labels must be ({len(x)},), got {labels.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    batches = chain.from_iterable(minibatches(len(x), batch_size, rng=rng) for _ in count())
    network = deepcopy(network)
    optimizer, criterion = make_optimizer(network), CrossEntropy()
    rates = np.geomspace(lowest, highest, steps)
    raw: list[float] = []

    def next_loss() -> float:
        batch = next(batches)
        logits = network.forward(x[batch])
        # A difference that overflows would have no softmax.
        return criterion.forward(logits, labels[batch]) if np.isfinite(np.ptp(logits)) else np.inf

    with np.errstate(over="ignore", invalid="ignore"):  # it is meant to explode
        if next_loss() == np.inf:
            raise FloatingPointError("the network returned logits that are not finite")
        for rate in rates:
            network.backward(criterion.backward())
            optimizer.learning_rate = float(rate)
            optimizer.step()
            loss = next_loss()
            if loss == np.inf:
                break
            raw.append(loss)
            losses = smoothed(np.array(raw), smoothing)
            if losses[-1] > _RISEN * losses.min():
                break
    window = round(1 / (1 - smoothing))
    return Sweep(rates[: len(raw)], np.array(raw), smoothed(np.array(raw), smoothing), window)


def smoothed(values: np.ndarray, smoothing: float) -> np.ndarray:
    """Average each value with those before it, whose shares fade by a factor a step.

    Parameters
    ----------
    values : ndarray, shape (T,)
        What to smooth.
    smoothing : float
        β, in [0, 1); 0 changes nothing.

    Returns
    -------
    ndarray, shape (T,)
        The averages; their shares add up to 1 from the first on.

    Raises
    ------
    ValueError
        If `smoothing` is out of range.
    """
    _check_smoothing(smoothing)
    average, averages = 0.0, np.empty(len(values))
    for t, value in enumerate(values.tolist(), 1):  # plain numbers: many times faster
        average = smoothing * average + (1 - smoothing) * value
        averages[t - 1] = average / (1 - smoothing**t)
    return averages


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
