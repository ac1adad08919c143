"""Sharp and flat minima differ in curvature: how fast the loss rises when the weights are moved.

At a minimum the slope is 0. How fast it grows along a direction is the curvature there, vᵀHv with
the Hessian H. The largest, the sharpness, decides which learning rates can stay at a minimum: those
below 2 / sharpness. H is never built: H v is how the gradient changes along v, and its largest
eigenvalue needs no more than such products:

    H v ≈ (∇L(θ + εv) - ∇L(θ - εv)) / 2ε          sharpness = max vᵀ H v,  ‖v‖ = 1

Sharpness-aware minimisation (SAM) steps with the gradient of a worse place nearby, uphill by ρ:

    θ' = θ + ρ g / ‖g‖          θ ← θ - η ∇L(θ')          to first order ∇(L + ρ ‖∇L‖)

Across a kink (ReLU at 0) the difference measures the jump of the slope over 2ε, which is no
curvature. Variants of SAM that do not change when layers are rescaled are left out.

References
----------
Hochreiter, S., Schmidhuber, J. (1997). Flat minima. Neural Computation 9(1).
Keskar, N., Mudigere, D., Nocedal, J., Smelyanskiy, M., Tang, P. (2017). On large-batch training
    for deep learning: generalization gap and sharp minima. ICLR.
Dinh, L., Pascanu, R., Bengio, S., Bengio, Y. (2017). Sharp minima can generalize for deep nets.
    ICML.
Foret, P., Kleiner, A., Mobahi, H., Neyshabur, B. (2021). Sharpness-aware minimization for
    efficiently improving generalization. ICLR.
Cohen, J., Kaur, S., Li, Y., Kolter, J., Talwalkar, A. (2021). Gradient descent on neural networks
    typically occurs at the edge of stability. ICLR.
"""

from typing import Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from lexicon.foundations.forward_pass import Layer
from lexicon.training.gradient_descent import Optimizer
from lexicon.training.momentum import carry

__all__ = ["SharpnessAwareMinimization", "hessian_times", "sharpness"]


class _Loss(Protocol):
    def forward(self, predictions: np.ndarray, targets: np.ndarray) -> float: ...

    def backward(self) -> np.ndarray: ...


def hessian_times(
    network: Layer,
    criterion: _Loss,
    x: np.ndarray,
    targets: np.ndarray,
    vector: np.ndarray,
) -> np.ndarray:
    """Multiply the Hessian of the loss by a vector, by a central difference of two gradients.

    Parameters
    ----------
    network : Layer
        Any differentiable network, in the mode that it is in: with dropout or batch norm, inside
        an `evaluating` block. Its parameters end as they were to the bit, its ``grads`` are those
        of a place nearby. Not between a forward and its backward.
    criterion : object
        The loss: ``forward(predictions, targets)`` and ``backward()``, as `CrossEntropy`.
    x : ndarray, shape (N, in)
        Samples.
    targets : ndarray
        What the loss compares with.
    vector : ndarray, shape (n,)
        One number for each number in ``network.params``, in their order; of their type.

    Returns
    -------
    ndarray, shape (n,)
        H v, to about ten digits in float64 where the loss is smooth, and four in float32.

    Raises
    ------
    TypeError
        If `vector` has another type.
    ValueError
        If it has another shape, or is not finite.
    FloatingPointError
        If a gradient is not finite.
    """
    params = network.params
    kept = _flat(params)
    if vector.dtype != kept.dtype:
        raise TypeError(f"vector must be {kept.dtype} like the parameters, got {vector.dtype}")
    if vector.shape != kept.shape or not np.isfinite(vector).all():
        raise ValueError(f"vector must be {kept.shape} finite numbers, got {vector.shape}")
    length = float(np.linalg.norm(vector))
    if length == 0:
        return np.zeros_like(vector)
    # Truncation grows with ε², rounding with 1/ε: the cube root of the type's precision.
    epsilon = float(np.cbrt(np.finfo(kept.dtype).eps)) / length
    gradients = []
    try:
        for theta in (kept + epsilon * vector, kept - epsilon * vector):
            _fill(params, theta)
            criterion.forward(network.forward(x), targets)
            network.backward(criterion.backward())
            gradients.append(_flat({name: network.grads[name] for name in params}))
    finally:
        _fill(params, kept)
    if not np.isfinite(gradients).all():
        raise FloatingPointError("the gradient near the parameters is not finite")
    return (gradients[0] - gradients[1]) / (2 * epsilon)


def sharpness(
    network: Layer,
    criterion: _Loss,
    x: np.ndarray,
    targets: np.ndarray,
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-3,
) -> float:
    """Measure the largest eigenvalue of the Hessian of the loss, by Lanczos iteration.

    Parameters
    ----------
    network : Layer
        As for `hessian_times`.
    criterion : object
        The loss.
    x : ndarray, shape (N, in)
        Samples.
    targets : ndarray
        What the loss compares with.
    rng : numpy.random.Generator
        Draws the direction to begin with.
    tolerance : float, default 1e-3
        The relative error at which to stop, above 0.

    Returns
    -------
    float
        The largest curvature along any direction; negative if the loss bends down along all.

    Raises
    ------
    ValueError
        If `tolerance` is not above 0.
    FloatingPointError
        If a gradient is not finite.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    first = _flat(network.params)
    first = rng.standard_normal(len(first)).astype(first.dtype)

    def product(vector: np.ndarray) -> np.ndarray:
        return hessian_times(network, criterion, x, targets, vector)

    moved = product(first)
    if len(first) == 1 or not moved.any():  # too small, or too flat, for ARPACK
        return float(moved @ first / (first @ first))
    operator = LinearOperator((len(first), len(first)), matvec=product, dtype=first.dtype)
    largest = eigsh(operator, k=1, which="LA", v0=first, tol=tolerance, return_eigenvectors=False)
    return float(largest[0])


class SharpnessAwareMinimization:
    """Step with the gradient of the worst place nearby, to first order: climb, then step.

    Between the two the caller computes the gradient once more, on the same batch.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`.
    optimizer : Optimizer
        Made for this network; takes the step.
    rho : float
        ρ, how far to climb: the length of the move of all parameters together, above 0.

    Attributes
    ----------
    learning_rate : float
        That of `optimizer`.

    Raises
    ------
    ValueError
        If `rho` is out of range.
    """

    def __init__(self, network: Layer, optimizer: Optimizer, *, rho: float) -> None:
        if not 0 < rho < np.inf:
            raise ValueError(f"rho must be above 0 and finite, got {rho}")
        self.network = network
        self.optimizer = optimizer
        self.rho = rho
        self._kept: dict[str, np.ndarray] = {}

    @property
    def learning_rate(self) -> float:
        """Return the optimiser's learning rate; setting it sets that."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimizer.learning_rate = value

    def climb(self) -> None:
        """Move all parameters by ``ρ g / ‖g‖``, with the gradients g of the last backward.

        Where the gradient is 0 no direction is uphill, and nothing moves.

        Raises
        ------
        RuntimeError
            If it has climbed already, or there are no gradients; nothing is changed then.
        FloatingPointError
            If a gradient is not finite; nothing is changed then.
        """
        params, grads = self.network.params, self.network.grads
        if self._kept:
            raise RuntimeError("climb must be followed by a step before the next")
        if params.keys() != grads.keys():
            raise RuntimeError("climb needs the gradients of a backward of the whole network")
        # In float64: the square of a float32 overflows at 2e19 and vanishes at 4e-23.
        norm = np.linalg.norm(_flat(grads).astype(np.float64))
        if not np.isfinite(norm):
            raise FloatingPointError("climb needs finite gradients")
        self._kept = {name: theta.copy() for name, theta in params.items()}
        if norm > 0:
            for name, theta in params.items():
                theta += self.rho / norm * grads[name]  # a float64, as norm is

    def step(self) -> None:
        """Go back to where `climb` began, and let the optimiser step with the gradients of now.

        Raises
        ------
        RuntimeError
            If no `climb` came before; nothing is changed then. As the optimiser's step, if there
            are no gradients; the parameters are back where `climb` began then.
        """
        if not self._kept:
            raise RuntimeError("step needs a climb first, and a second backward after it")
        for name, theta in self.network.params.items():
            theta[:] = self._kept[name]
        self._kept = {}
        self.optimizer.step()

    def follow(self, name: str, source: np.ndarray) -> None:
        """Let the optimiser's state, and what `climb` has kept, follow positions that moved.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1: a new connection, whose
            weight is 0.

        Raises
        ------
        ValueError
            As the optimiser's.
        """
        self.optimizer.follow(name, source)
        if self._kept:
            carry(self._kept, name, source)


def _flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays.values()])


def _fill(params: dict[str, np.ndarray], values: np.ndarray) -> None:
    for theta in params.values():
        theta[:], values = values[: theta.size].reshape(theta.shape), values[theta.size :]
