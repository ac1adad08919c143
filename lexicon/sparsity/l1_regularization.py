"""L1 regularization pulls every weight towards zero with the same force, and can leave it there.

The penalty λ Σ|w| has the slope λ sign(w), however small the weight, so a weight lives only if the
loss pulls at it harder than λ. At zero the slope jumps: a step along it flies past and never lands.
The proximal step lets the loss have its step, then shrinks, and lands:

    subgradient:  g ← g + λ sign(w),      then a step along g
    proximal:     a step along g,         then w ← soft(w, η λ / (1 - β))

    soft(w, t) = sign(w) max(|w| - t, 0) = argmin over z of ½ (z - w)² + t |z|

It stands still where the lasso does: g = -λ sign(w), or w = 0 and |g| ≤ λ. The division by 1 - β
is for momentum: its steady step is η g / (1 - β), and the shrinking has to match.
Biases are left alone. The path of solutions over λ is left out.

References
----------
Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal
    Statistical Society, Series B 58(1).
Daubechies, I., Defrise, M., De Mol, C. (2004). An iterative thresholding algorithm for linear
    inverse problems with a sparsity constraint. Communications on Pure and Applied Mathematics
    57(11).
Parikh, N., Boyd, S. (2014). Proximal algorithms. Foundations and Trends in Optimization 1(3).
"""

from collections.abc import Sequence

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.training.gradient_descent import Optimizer
from lexicon.training.momentum import Momentum

__all__ = ["ProximalL1", "SubgradientL1", "soft_threshold"]


def soft_threshold(theta: np.ndarray, threshold: float) -> np.ndarray:
    """Move every number towards zero by a threshold, and not past zero.

    Parameters
    ----------
    theta : ndarray, any shape
        The numbers, floating point; not changed. NaN stays NaN, infinity stays infinity.
    threshold : float
        How far, 0 or above.

    Returns
    -------
    ndarray, shape and type of `theta`
        ``sign(theta) · max(|theta| - threshold, 0)``.

    Raises
    ------
    TypeError
        If `theta` is not floating point.
    ValueError
        If `threshold` is negative, NaN or infinite.
    """
    if not np.issubdtype(theta.dtype, np.floating):
        raise TypeError(f"theta must be floating point, got {theta.dtype}")
    if not 0 <= threshold < np.inf:
        raise ValueError(f"threshold must be 0 or above and finite, got {threshold}")
    # A Python float: NumPy's own float64 would turn float32 weights into float64. And x - x is
    # +0, where sign times zero would leave -0 behind.
    limit = float(threshold)
    return theta - np.clip(theta, -limit, limit)


class ProximalL1:
    """Let an optimiser step, then shrink the weights by the soft threshold.

    Parameters
    ----------
    optimizer : Optimizer
        Plain descent or momentum, made for `network`.
    network : Layer
        One layer or a `Sequential`, dense or sparse.
    strength : float
        λ, 0 or above; may be changed between steps.
    names : sequence of str, optional
        Which weights of ``network.params`` to shrink; all if not given, and never a bias.

    Attributes
    ----------
    optimizer, network, strength
        As given.
    names : list of str
        The weights that are shrunk.

    Raises
    ------
    ValueError
        If `strength` is out of range, also when it is set later, or a name is not one of the
        network's weights or given twice.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        network: Layer,
        *,
        strength: float,
        names: Sequence[str] | None = None,
    ) -> None:
        weights = [name for name in network.params if name.endswith("weight")]
        for name in weights if names is None else names:
            if name not in weights:
                raise ValueError(f"names must be among {weights}, got {name!r}")
        if names is not None and len(set(names)) < len(names):
            raise ValueError(f"names must differ, got {list(names)}")
        self.optimizer = optimizer
        self.network = network
        self.strength = strength
        self.names = weights if names is None else list(names)

    @property
    def strength(self) -> float:
        """Return λ; may be changed between steps."""
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        if not 0 <= strength < np.inf:
            raise ValueError(f"strength must be 0 or above and finite, got {strength}")
        self._strength = strength

    @property
    def learning_rate(self) -> float:
        """Return η, the optimiser's own; set it here or there."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimizer.learning_rate = rate

    def step(self) -> None:
        """Take the optimiser's step, then shrink by ``η λ / (1 - β)``.

        Raises
        ------
        RuntimeError
            As the optimiser; nothing is changed then.
        """
        self.optimizer.step()
        beta = self.optimizer.beta if isinstance(self.optimizer, Momentum) else 0.0
        threshold = self.learning_rate * self.strength / (1 - beta)
        params = self.network.params
        for name in self.names:
            params[name][...] = self._shrunk(params[name], threshold)

    def _shrunk(self, weight: np.ndarray, threshold: float) -> np.ndarray:
        return soft_threshold(weight, threshold)

    def follow(self, name: str, source: np.ndarray) -> None:
        """Tell the optimiser that a parameter's positions moved; shrinking keeps nothing itself.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.
        """
        self.optimizer.follow(name, source)


class SubgradientL1(ProximalL1):
    """Add the penalty's slope to the gradient, then let the optimiser step: nothing reaches zero.

    Parameters
    ----------
    optimizer : Optimizer
        Plain descent or momentum, made for `network`.
    network : Layer
        One layer or a `Sequential`, dense or sparse.
    strength : float
        λ, 0 or above; may be changed between steps.
    names : sequence of str, optional
        Which weights of ``network.params`` to pull; all if not given, and never a bias.

    Raises
    ------
    ValueError
        As `ProximalL1`.
    """

    def step(self) -> None:
        """Add ``λ sign(w)`` to the gradients of the last backward, then take the optimiser's step.

        Raises
        ------
        RuntimeError
            As the optimiser; no parameter is changed then.
        """
        params, grads = self.network.params, self.network.grads
        for name in self.names:
            # Where that is not so, the optimiser complains.
            if name in grads and grads[name].shape == params[name].shape:
                grads[name] += self.strength * np.sign(params[name])
        self.optimizer.step()
