"""Gradient clipping shortens a gradient that is too long, and leaves all others as they are.

Through many layers a gradient is multiplied by many matrices. Where they stretch, it grows like a
power of the depth and explodes: one step then throws the weights out of the region where the
slope was true. So limit how long it may be, with the norm of all gradients together:

    by norm:   g ← g · min(1, c / ‖g‖),   ‖g‖ = √(Σ gᵢ²) over all parameters
    by value:  gᵢ ← min(c, max(-c, gᵢ))

The first keeps the direction, the second bends it towards a diagonal. Limits that adapt to the
norms seen so far are left out.

References
----------
Pascanu, R., Mikolov, T., Bengio, Y. (2013). On the difficulty of training recurrent neural
    networks. ICML.
"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Layer
from lexicon.training.gradient_descent import Optimizer

__all__ = ["Clipping", "clip_norm", "clip_value"]


def clip_norm(grads: dict[str, np.ndarray], max_norm: float) -> float:
    """Scale all gradients by one factor, so that their norm together is at most `max_norm`.

    Parameters
    ----------
    grads : dict of str to ndarray
        Gradients as ``network.grads`` holds them, a sparse one canonical; changed in place where
        the norm is larger.
    max_norm : float
        c, above 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    ValueError
        If `max_norm` is out of range.
    FloatingPointError
        If a gradient is not finite; nothing is changed then.
    """
    largest = _largest(grads, "max_norm", max_norm)
    if largest == 0:
        return 0.0
    # Relative to the largest, in float64: no square overflows, and not all of them vanish.
    squares = [np.square(g / np.float64(largest)).sum() for g in _stored(grads)]
    relative = float(np.sqrt(np.sum(squares)))
    if relative > max_norm / largest:
        for g in _stored(grads):
            np.multiply(g, np.float64(max_norm / largest / relative), out=g, casting="same_kind")
    return largest * relative


def clip_value(grads: dict[str, np.ndarray], max_value: float) -> None:
    """Limit every number of every gradient to ``[-max_value, max_value]``, each for itself.

    Parameters
    ----------
    grads : dict of str to ndarray
        Gradients as ``network.grads`` holds them, a sparse one canonical; changed in place.
    max_value : float
        c, above 0.

    Raises
    ------
    ValueError
        If `max_value` is out of range.
    FloatingPointError
        If a gradient is not finite; nothing is changed then.
    """
    _largest(grads, "max_value", max_value)
    for g in _stored(grads):
        np.clip(g, -max_value, max_value, out=g)


class Clipping:
    """An optimiser that clips the gradients by their norm before another one steps.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`; its `grads` are clipped in place.
    optimizer : Optimizer
        Made for this network; takes the step.
    max_norm : float
        c, above 0.

    Attributes
    ----------
    norms : list of float
        The norm of the gradients before each clipping, one for each step.

    Raises
    ------
    ValueError
        If `max_norm` is out of range.
    """

    def __init__(self, network: Layer, optimizer: Optimizer, *, max_norm: float) -> None:
        _largest({}, "max_norm", max_norm)
        self.network = network
        self.optimizer = optimizer
        self.max_norm = max_norm
        self.norms: list[float] = []

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the optimiser inside, which may be set here."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        self.optimizer.learning_rate = learning_rate

    def step(self) -> None:
        """Clip, then take one step with the gradients of the last backward.

        Raises
        ------
        FloatingPointError
            If a gradient is not finite; nothing is changed then.
        RuntimeError
            As the optimiser inside; the gradients are clipped then, and nothing else is changed.
        """
        norm = clip_norm(self.network.grads, self.max_norm)
        self.optimizer.step()
        self.norms.append(norm)

    def follow(self, name: str, source: np.ndarray) -> None:
        """Tell the optimiser inside where a parameter's positions went.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.
        """
        self.optimizer.follow(name, source)


def _largest(grads: dict[str, np.ndarray], name: str, limit: float) -> float:
    if not 0 < limit < np.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {limit}")
    for key, g in zip(grads, _stored(grads), strict=True):
        if not np.isfinite(g).all():
            raise FloatingPointError(f"the gradient of {key} is not finite: clipping is no cure")
    return max((float(np.abs(g).max(initial=0)) for g in _stored(grads)), default=0.0)


def _stored(grads: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [g.data if isinstance(g, csr_array) else g for g in grads.values()]
