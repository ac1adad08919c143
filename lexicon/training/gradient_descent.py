"""Gradient descent steps against the gradient, the direction in which the loss rises fastest.

A small move by δ changes the loss by about ∇L(θ)·δ. Among all moves of one length, the one
straight against the gradient lowers it most. So measure the gradient, move, and measure again:

    g = ∇L(θ) + λθ
    θ ← θ - η g

with learning rate η and weight decay λ. How long a step may be, curvature decides. On a bowl
L = ½ θᵀAθ every eigenvector of A is a direction of its own, with its eigenvalue κ as curvature:

    component after t steps = (1 - ηκ)ᵗ · component at the start

which fades in all directions only if η < 2/κmax, and fastest at η = 2/(κmin + κmax). A rate
that adapts, and memory of past gradients, are left out.

References
----------
Cauchy, A. (1847). Méthode générale pour la résolution des systèmes d'équations simultanées.
    Comptes rendus de l'Académie des sciences 25.
Nesterov, Y. (2004). Introductory Lectures on Convex Optimization, section 2.1. Kluwer.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array, issparse

from lexicon.foundations.forward_pass import Layer

__all__ = ["GradientDescent", "Optimizer", "descend", "quadratic_path"]


class Optimizer(Protocol):
    """What every optimiser can do; it holds the network whose parameters it updates."""

    learning_rate: float

    def step(self) -> None:
        """Take one step with the gradients of the last backward."""

    def follow(self, name: str, source: np.ndarray) -> None:
        """Carry what is kept for a parameter's old positions to its new ones.

        Parameters
        ----------
        name : str
            The parameter, as in the network's `params`.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.
        """


class GradientDescent:
    """Update a network's parameters in place: ``θ ← θ - η (g + λθ)``.

    A gradient that is a `csr_array` moves only the rows that it stores.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`; its `params` are updated, its `grads` are read.
    learning_rate : float
        η, above 0; may be changed between steps.
    weight_decay : float, default 0.0
        λ, 0 or above: also steps towards zero. Applied to weights, never to biases.

    Raises
    ------
    ValueError
        If `learning_rate` or `weight_decay` is out of range.
    """

    def __init__(self, network: Layer, *, learning_rate: float, weight_decay: float = 0.0) -> None:
        _check_rate(learning_rate)
        if not 0 <= weight_decay < np.inf:
            raise ValueError(f"weight_decay must be 0 or above and finite, got {weight_decay}")
        self.network = network
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay

    def step(self) -> None:
        """Take one step with the gradients of the last backward.

        Raises
        ------
        RuntimeError
            If no backward came before, a gradient is not shaped like its parameter, or a sparse
            one meets weight decay, which would have to move every row; nothing is changed then.
        """
        params, grads = self._checked(sparse=True)
        for name, theta in params.items():
            gradient = grads[name]
            if isinstance(gradient, csr_array):
                rows = np.flatnonzero(np.diff(gradient.indptr))
                theta[rows] -= self.learning_rate * gradient[rows].toarray()
                continue
            if self.weight_decay and name.endswith("weight"):
                gradient = gradient + self.weight_decay * theta
            theta -= self.learning_rate * gradient

    def _checked(
        self, *, sparse: bool = False
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return parameters and gradients that fit; a step that can use sparse ones says so."""
        params, grads = self.network.params, self.network.grads
        if params.keys() != grads.keys():
            raise RuntimeError("step needs the gradients of a backward of the whole network")
        for name, theta in params.items():
            gradient = grads[name]
            if np.shape(gradient) != theta.shape:  # one number would broadcast in silence
                raise RuntimeError(
                    f"the gradient of {name} must be {theta.shape}, got {np.shape(gradient)}"
                )
            if issparse(gradient) and not (sparse and isinstance(gradient, csr_array)):
                raise RuntimeError(
                    f"the gradient of {name} must be dense for {type(self).__name__}, "
                    f"got a {type(gradient).__name__}"
                )
            if issparse(gradient) and self.weight_decay and name.endswith("weight"):
                raise RuntimeError(
                    f"the gradient of {name} must be dense for weight_decay: it moves every row"
                )
        return params, grads

    def follow(self, name: str, source: np.ndarray) -> None:
        """Accept that a parameter's positions moved: plain descent keeps nothing per position.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.
        """


def descend(
    gradient: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    learning_rate: float,
    steps: int,
) -> np.ndarray:
    """Walk down a function that is given by its gradient, and return every place on the way.

    Parameters
    ----------
    gradient : callable
        Takes a place, an array like `start`, and returns the gradient there, of the same shape.
    start : ndarray, floating point, any shape
        Where to begin; not changed.
    learning_rate : float
        η, above 0.
    steps : int
        How many steps, 0 or more.

    Returns
    -------
    ndarray, shape (steps + 1, ...)
        The path, `start` first. One that diverges ends in infinity or NaN.

    Raises
    ------
    TypeError
        If `start` is not floating point.
    ValueError
        If `learning_rate` or `steps` is out of range, or `gradient` returns another shape.
    """
    path = _empty_path(start, learning_rate, steps)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            slope = gradient(path[t].copy())
            if np.shape(slope) != start.shape:
                raise ValueError(f"gradient must return {start.shape}, got {np.shape(slope)}")
            path[t + 1] = path[t] - learning_rate * slope
    return path


def quadratic_path(
    hessian: np.ndarray, start: np.ndarray, *, learning_rate: float, steps: int
) -> np.ndarray:
    """Compute the same path on the bowl ½ θᵀAθ by its closed form, without walking.

    Parameters
    ----------
    hessian : ndarray, shape (n, n)
        A, symmetric: the second derivatives.
    start : ndarray, shape (n,)
        Where the path begins, of the same floating type.
    learning_rate : float
        η, above 0.
    steps : int
        How many steps, 0 or more.

    Returns
    -------
    ndarray, shape (steps + 1, n)
        The path, `start` first. One that diverges ends in infinity or NaN.

    Raises
    ------
    TypeError
        If `start` is not floating point, or `hessian` of another type.
    ValueError
        If `learning_rate` or `steps` is out of range, or `hessian` is not (n, n), not finite
        or not symmetric.
    """
    path = _empty_path(start, learning_rate, steps)
    if hessian.dtype != start.dtype:
        raise TypeError(f"hessian must be {start.dtype} like start, got {hessian.dtype}")
    if start.ndim != 1 or hessian.shape != 2 * start.shape:
        raise ValueError(
            f"hessian must be (n, n) for a start of (n,), got {hessian.shape}, {start.shape}"
        )
    width = 1e-6 * np.abs(hessian).max(initial=0)  # of a difference that is rounding
    if not np.isfinite(hessian).all() or (np.abs(hessian - hessian.T) > width).any():
        raise ValueError("hessian must be symmetric and finite")
    curvatures, directions = np.linalg.eigh(hessian)
    times = np.arange(steps + 1, dtype=start.dtype)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        components = (1 - learning_rate * curvatures) ** times * (directions.T @ start)
        path[:] = components @ directions.T
    return path


def _empty_path(start: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    if not np.issubdtype(start.dtype, np.floating):
        raise TypeError(f"start must be floating point, got {start.dtype}")
    _check_rate(learning_rate)
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}")
    path = np.empty((steps + 1, *start.shape), start.dtype)
    path[0] = start
    return path


def _check_rate(learning_rate: float) -> None:
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be above 0 and finite, got {learning_rate}")
