"""Universal approximation: one hidden layer, wide enough, comes as close to a curve as you like.

A ReLU bends a line at one place. So k of them draw any broken line of k pieces: choose knots
t₀ < … < tₖ, let v be the values of a curve there, and let each unit add the change of slope:

    y = v₀ + Σᵢ aᵢ max(0, x - tᵢ)        aᵢ = sᵢ - sᵢ₋₁,  sᵢ = (vᵢ₊₁ - vᵢ) / (tᵢ₊₁ - tᵢ),  s₋₁ = 0

The line meets the curve at all knots. Between two of them, h apart, it is off by at most
max |f''| h² / 8, so twice as many units leave a quarter of the error. That is a construction for
one input; the theorem holds for any number of them, for every continuous curve on a bounded and
closed region, and says neither how many units it takes nor how to learn the weights.

References
----------
Cybenko, G. (1989). Approximation by superpositions of a sigmoidal function. Mathematics of
    Control, Signals and Systems 2.
Hornik, K., Stinchcombe, M., White, H. (1989). Multilayer feedforward networks are universal
    approximators. Neural Networks 2.
Leshno, M., Lin, V., Pinkus, A., Schocken, S. (1993). Multilayer feedforward networks with a
    nonpolynomial activation function can approximate any function. Neural Networks 6.
"""

from collections.abc import Callable

import numpy as np

from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear

__all__ = ["interpolating_network", "largest_error"]


def interpolating_network(knots: np.ndarray, values: np.ndarray) -> Sequential:
    """Build a network of k hidden ReLUs that draws the broken line through k + 1 points.

    Parameters
    ----------
    knots : ndarray, shape (k + 1,)
        Where the line is to meet the curve, k ≥ 1: floating point, finite, each above the one
        before it.
    values : ndarray, shape (k + 1,)
        The curve's values there, finite, of the same type.

    Returns
    -------
    Sequential
        Linear (1 to k), ReLU, Linear (k to 1), of that type. Left of the first knot it is
        constant, right of the last but one it goes on straight.

    Raises
    ------
    TypeError
        If `knots` is not floating point, or `values` is of another type.
    ValueError
        If a shape does not fit, a number is not finite, the knots do not rise, or the line
        between two of them is too steep for the type.
    """
    if not np.issubdtype(knots.dtype, np.floating):
        raise TypeError(f"knots must be floating point, got {knots.dtype}")
    if knots.ndim != 1 or len(knots) < 2:
        raise ValueError(f"knots must be (k + 1,) with k ≥ 1, got {knots.shape}")
    if not np.isfinite(knots).all() or not (knots[:-1] < knots[1:]).all():
        raise ValueError("knots must be finite, each above the one before it")
    if values.dtype != knots.dtype:
        raise TypeError(f"values must be {knots.dtype} like knots, got {values.dtype}")
    if values.shape != knots.shape or not np.isfinite(values).all():
        raise ValueError(f"values must be finite and {knots.shape} like knots, got {values.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = np.diff(values) / np.diff(knots)
        changes = np.diff(slopes, prepend=slopes.dtype.type(0))
    if not np.isfinite(changes).all():
        raise ValueError("knots must lie further apart: a slope is beyond the type")
    width = len(changes)
    hidden = Linear(np.ones((width, 1), knots.dtype), -knots[:-1])
    return Sequential([hidden, Activation(relu), Linear(changes[None], values[:1])])


def largest_error(
    network: Layer,
    curve: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    *,
    points: int = 10_001,
) -> float:
    """Look for the place where a network is furthest from a curve.

    Parameters
    ----------
    network : Layer
        Takes (N, 1) in float64 and returns (N, 1).
    curve : callable
        Takes the same and returns the true values.
    low, high : float
        The interval to look at, low < high.
    points : int, default 10,001
        How many places to look at, evenly spaced and both ends included, at least 2; what happens
        between them goes unseen.

    Returns
    -------
    float
        The largest difference found.

    Raises
    ------
    ValueError
        If the interval is empty or not finite, there are too few points, or network and curve
        return other shapes than (N, 1).
    """
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low must be below high, both finite, got {low} and {high}")
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    x = np.linspace(low, high, points)[:, None]
    y, true = network.forward(x), curve(x)
    if not y.shape == true.shape == x.shape:
        raise ValueError(f"network and curve must return {x.shape}, got {y.shape}, {true.shape}")
    return float(np.abs(y - true).max())
