"""Momentum steps along a running sum of past gradients instead of the last one alone.

In a narrow valley the gradient points across, not along: plain descent zigzags. Summing
gradients cancels what changes sign and adds up what persists, so the effective rate along a
steady direction grows to η / (1 - β):

    heavy ball:  v ← βv + g          θ ← θ - η v
    Nesterov:    v ← βv + g          θ ← θ - η (g + βv)

with g = ∇L(θ) + λθ. Nesterov's θ is the point that the velocity is about to reach, so that the
gradient is taken one step ahead. The velocity is one number per parameter, and belongs to that
parameter: where positions move, `follow` moves it along.

References
----------
Polyak, B. (1964). Some methods of speeding up the convergence of iteration methods. USSR
    Computational Mathematics and Mathematical Physics 4(5).
Nesterov, Y. (1983). A method of solving a convex programming problem with convergence rate
    O(1/k²). Soviet Mathematics Doklady 27.
Sutskever, I., Martens, J., Dahl, G., Hinton, G. (2013). On the importance of initialization
    and momentum in deep learning. ICML.
"""

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent

__all__ = ["Momentum", "carry"]


class Momentum(StochasticGradientDescent):
    """Update a network's parameters in place with a velocity for each of them.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`.
    learning_rate : float
        η, above 0; may be changed between steps.
    beta : float, default 0.9
        How much of the velocity survives a step, in [0, 1); 0 is plain descent.
    nesterov : bool, default False
        Take the gradient one step ahead.
    weight_decay : float, default 0.0
        λ, 0 or above. Applied to weights, never to biases.

    Attributes
    ----------
    velocity : dict of str to ndarray
        v, under the names and with the shapes of ``network.params``; zeros at first.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    def __init__(
        self,
        network: Layer,
        *,
        learning_rate: float,
        beta: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, learning_rate=learning_rate, weight_decay=weight_decay)
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {beta}")
        self.beta = beta
        self.nesterov = nesterov
        self.velocity = {name: np.zeros_like(theta) for name, theta in network.params.items()}

    def step(self) -> None:
        """Take one step with the gradients of the last backward.

        Raises
        ------
        RuntimeError
            If no backward came before, a gradient is not shaped like its parameter or is sparse
            (a velocity moves every row, so nothing would be saved), or a parameter changed its
            size and `follow` was not told; nothing is changed then.
        """
        params, grads = self._checked()
        for name, theta in params.items():
            if self.velocity[name].shape != theta.shape:
                raise RuntimeError(f"velocity of {name} is stale: call follow when positions move")
        for name, theta in params.items():
            gradient, velocity = grads[name], self.velocity[name]
            if self.weight_decay and name.endswith("weight"):
                gradient = gradient + self.weight_decay * theta
            velocity *= self.beta
            velocity += gradient
            theta -= self.learning_rate * (
                gradient + self.beta * velocity if self.nesterov else velocity
            )

    def follow(self, name: str, source: np.ndarray) -> None:
        """Carry the velocity of a parameter to its new positions; new ones start at rest.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.

        Raises
        ------
        ValueError
            If `name` is unknown or not a vector, or if `source` is not a vector of integers or
            points outside of it; nothing is changed then.
        """
        carry(self.velocity, name, source)


def carry(kept: dict[str, np.ndarray], name: str, source: np.ndarray) -> None:
    """Move what an optimiser keeps for a vector of parameters to its new positions.

    Parameters
    ----------
    kept : dict of str to ndarray
        One number per parameter, such as a velocity; ``kept[name]`` is changed, and 0 where a
        position is new.
    name : str
        The parameter.
    source : ndarray of int, shape (new size,)
        For every new position the old one that it continues, or -1.

    Raises
    ------
    ValueError
        If `name` is unknown or not a vector, or if `source` is not a vector of integers or
        points outside of it; nothing is changed then.
    """
    if name not in kept or kept[name].ndim != 1:
        raise ValueError(f"name must be one of the vectors that are kept, got {name!r}")
    old = kept[name]
    if source.ndim != 1 or not np.issubdtype(source.dtype, np.integer):
        raise ValueError(f"source must be a vector of integers, got {source!r}")
    if len(source) and not (source.min() >= -1 and source.max() < len(old)):
        raise ValueError(f"source must hold -1 or positions below {len(old)}")
    # -1 reads the last place, which is the zero that was put there for it.
    moved = np.append(old, old.dtype.type(0))[source]
    if len(moved) == len(old):
        old[:] = moved
    else:
        kept[name] = moved
