"""Weights and a bias draw a flat boundary: on one side of it the weighted sum is above 0.

A neuron changes its mind where z = x w + b is 0: at a point on a line of numbers, along a line in
a plane, across a plane in space. Divided by its length ‖w‖, the weight is a direction, at right
angles to the boundary, and z becomes a distance:

    d = (x w + b) / ‖w‖        direction u = w / ‖w‖,  offset c = -b / ‖w‖,  steepness ‖w‖
    z = ‖w‖ (x u - c)          nearest point of the boundary  p = x - d u

A positive factor on w and b together cancels in u, c and d, and multiplies z. The gradients of d
for dd, the gradient that arrives, hold that nearest point:

    dx = dd uᵀ                 dw = Σₙ ddₙ pₙ / ‖w‖           db = Σₙ ddₙ / ‖w‖

What bends the boundary (an activation, a second layer) is left out.

References
----------
Rosenblatt, F. (1958). The perceptron: a probabilistic model for information storage and
    organization in the brain. Psychological Review 65(6).
Bishop, C. (2006). Pattern Recognition and Machine Learning, section 4.1. Springer.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "Boundary",
    "boundary",
    "nearest_point",
    "signed_distance",
    "signed_distance_gradients",
]


class Boundary(NamedTuple):
    """Where a neuron changes its mind, and how suddenly.

    Parameters
    ----------
    direction : ndarray, shape (n_in,)
        u, of length 1: the straight way to the side of the yes.
    offset : float
        c: how far from the origin the boundary lies in that direction; negative if the origin is
        on the side of the yes.
    steepness : float
        ‖w‖: how much the weighted sum grows for one unit of distance.
    """

    direction: np.ndarray
    offset: float
    steepness: float


def boundary(weight: np.ndarray, bias: np.ndarray) -> Boundary:
    """Take the parameters of a neuron apart into direction, offset and steepness.

    Parameters
    ----------
    weight : ndarray, shape (n_in,)
        w, floating point.
    bias : ndarray, shape (1,)
        b, of the same type.

    Returns
    -------
    Boundary
        What the two say about it.

    Raises
    ------
    TypeError
        If `weight` is not floating point, or `bias` is of another type.
    ValueError
        If a shape does not fit, `weight` is all zeros, or a number is not finite.
    """
    steepness = _length(weight, bias)
    # 0 - b, not -b: no bias is an offset of 0.0, not of -0.0.
    return Boundary(weight / steepness, (0 - float(bias[0])) / steepness, steepness)


def signed_distance(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Measure how far each sample is from the boundary.

    Parameters
    ----------
    x : ndarray, shape (N, n_in)
        Samples, of the type of the weights.
    weight : ndarray, shape (n_in,)
        w, floating point.
    bias : ndarray, shape (1,)
        b, of the same type.

    Returns
    -------
    ndarray, shape (N,)
        Distances d, in the unit of the inputs: above 0 on the side of the yes, else below.

    Raises
    ------
    TypeError
        If `weight` is not floating point, or `bias` or `x` is of another type.
    ValueError
        If a shape does not fit, `weight` is all zeros, or a parameter is not finite.
    """
    steepness = _length(weight, bias)
    _check_samples(x, weight)
    return (x @ weight + bias) / steepness


def nearest_point(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Find the point of the boundary that is nearest to each sample.

    Parameters
    ----------
    x : ndarray, shape (N, n_in)
        Samples, of the type of the weights.
    weight : ndarray, shape (n_in,)
        w, floating point.
    bias : ndarray, shape (1,)
        b, of the same type.

    Returns
    -------
    ndarray, shape (N, n_in)
        Points p: from each sample against the direction, by its distance.

    Raises
    ------
    TypeError, ValueError
        As `signed_distance`.
    """
    distance = signed_distance(x, weight, bias)
    return x - np.outer(distance, boundary(weight, bias).direction)


def signed_distance_gradients(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Send a gradient back through `signed_distance`.

    Parameters
    ----------
    x : ndarray, shape (N, n_in)
        Samples, of the type of the weights.
    weight : ndarray, shape (n_in,)
        w, floating point.
    bias : ndarray, shape (1,)
        b, of the same type.
    dd : ndarray, shape (N,)
        The gradient of the loss with respect to the distances, of that type too.

    Returns
    -------
    tuple of ndarray
        The gradients with respect to `x`, `weight` and `bias`, each in the shape of its own.

    Raises
    ------
    TypeError, ValueError
        As `signed_distance`, and for `dd` as well.
    """
    points = nearest_point(x, weight, bias)
    if dd.dtype != weight.dtype:
        raise TypeError(f"dd must be {weight.dtype} like weight, got {dd.dtype}")
    if dd.shape != (len(x),):
        raise ValueError(f"dd must be ({len(x)},), got {dd.shape}")
    direction, _, steepness = boundary(weight, bias)
    return np.outer(dd, direction), dd @ points / steepness, dd.sum(keepdims=True) / steepness


def _length(weight: np.ndarray, bias: np.ndarray) -> float:
    if not np.issubdtype(weight.dtype, np.floating):
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if weight.ndim != 1 or len(weight) == 0:
        raise ValueError(f"weight must be (n_in ≥ 1,), got {weight.shape}")
    if bias.dtype != weight.dtype:
        raise TypeError(f"bias must be {weight.dtype} like weight, got {bias.dtype}")
    if bias.shape != (1,):
        raise ValueError(f"bias must be (1,), got {bias.shape}")
    if not np.isfinite(bias[0]):
        raise ValueError(f"bias must be finite, got {bias[0]}")
    # In float64: the squares of a float16 overflow from 256 on.
    length = float(np.linalg.norm(weight.astype(np.float64)))
    if not 0 < length < np.inf:
        raise ValueError(f"weight must be finite and not all zeros, got length {length}")
    return length


def _check_samples(x: np.ndarray, weight: np.ndarray) -> None:
    if x.dtype != weight.dtype:
        raise TypeError(f"x must be {weight.dtype} like weight, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != len(weight) or len(x) == 0:
        raise ValueError(f"x must be (N ≥ 1, {len(weight)}), got {x.shape}")
