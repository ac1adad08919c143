"""Boosting favours neurons that rarely win, so that every neuron gets its turn.

In k-winners-take-all a loser gets no gradient, so a neuron that starts behind stays behind. The
duty cycle d of a neuron is its share of recent samples won; if all took turns it would be k/n.
Who is below that is pushed up, who is above is held back, but only for the choice of winners.
Their values pass on as they are:

    u   = γ (k/n - d)
    s   = x · exp(u)     multiplicative            s = x + u     additive
    yₙᵢ = xₙᵢ   if sₙᵢ is among the k largest of sample n, else 0
    dxₙᵢ = dyₙᵢ for those winners, else 0
    d  ← ρ d + (1 - ρ) · share of the batch won,   ρ = (1 - 1/period)ᴺ

A factor above 1 pushes a negative value further down; the sum has no such sign. The duty cycle
moves in `backward`, so only training moves it. Convolutions are left out.

References
----------
DeSieno, D. (1988). Adding a conscience to competitive learning. IEEE International Conference on
    Neural Networks.
Makhzani, A., Frey, B. (2015). Winner-take-all autoencoders. NeurIPS.
Cui, Y., Ahmad, S., Hawkins, J. (2017). The HTM spatial pooler: a neocortical algorithm for online
    sparse distributed coding. Frontiers in Computational Neuroscience 11.
Ahmad, S., Scheinkman, L. (2019). How can we be so dense? The benefits of using highly sparse
    representations. arXiv:1903.11257.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import entr

from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.mask import top_k

__all__ = ["BoostedKWinners", "additive_boost", "effective_neurons", "multiplicative_boost"]


def multiplicative_boost(x: np.ndarray, push: np.ndarray) -> np.ndarray:
    """Return ``x · exp(push)``: free of units, but a negative value sinks when it is pushed.

    Parameters
    ----------
    x : ndarray, shape (N, n)
        Activations.
    push : ndarray, shape (n,)
        How much to favour each neuron; 0 leaves it alone.

    Returns
    -------
    ndarray, shape (N, n)
        What the winners are chosen by.
    """
    return x * np.exp(push)


def additive_boost(x: np.ndarray, push: np.ndarray) -> np.ndarray:
    """Return ``x + push``: right for any sign, but in units of the activations.

    Parameters
    ----------
    x : ndarray, shape (N, n)
        Activations.
    push : ndarray, shape (n,)
        How much to favour each neuron; 0 leaves it alone.

    Returns
    -------
    ndarray, shape (N, n)
        What the winners are chosen by.
    """
    return x + push


class BoostedKWinners(KWinnersTakeAll):
    """Keep k activations of every sample, and favour neurons that have won too rarely.

    Parameters
    ----------
    n : int
        Neurons in the layer, at least 1.
    k : int
        How many of them may speak, 1 to `n`.
    strength : float
        γ, at least 0, which is no boosting. May be changed at any time: faded, or set to 0 to
        look at the network without.
    boost : callable, default multiplicative_boost
        Takes the activations (N, n) and the push u (n,), both of one type, and returns what the
        winners are chosen by.
    period : float, default 1000
        The memory of the duty cycle in samples, at least 1.

    Attributes
    ----------
    duty : ndarray of float64, shape (n,)
        The duty cycles. They start at k/n, where nobody is favoured, and always sum to k.
    params, grads : dict
        Empty: there is nothing to train.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    def __init__(
        self,
        n: int,
        k: int,
        *,
        strength: float,
        boost: Callable[[np.ndarray, np.ndarray], np.ndarray] = multiplicative_boost,
        period: float = 1000,
    ) -> None:
        super().__init__(k)
        if k > n:
            raise ValueError(f"k must be 1 to {n}, got {k}")
        if not 0 <= strength < np.inf:
            raise ValueError(f"strength must be finite, 0 or more, got {strength}")
        if not 1 <= period < np.inf:
            raise ValueError(f"period must be finite, 1 or more, got {period}")
        self.strength = strength
        self.boost = boost
        self.period = period
        self.duty = np.full(n, k / n)
        self._won = self.duty

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Silence all but each sample's winners; boosting chooses them, and changes no value.

        Parameters
        ----------
        x : ndarray, shape (N, n)
            Activations, floating point and finite.

        Returns
        -------
        ndarray, shape (N, n)
            The winners' values, zero elsewhere.

        Raises
        ------
        TypeError
            If `x` is not floating point.
        ValueError
            If `x` is not a batch of n columns, or `x` or a boosted value is not finite.
        """
        if not np.issubdtype(x.dtype, np.floating):
            raise TypeError(f"x must be floating point, got {x.dtype}")
        n = len(self.duty)
        if x.ndim != 2 or x.shape[1] != n or len(x) == 0:
            raise ValueError(f"x must be (N ≥ 1, {n}), got {x.shape}")
        push = self.strength * (self.k / n - self.duty)
        with np.errstate(over="ignore", invalid="ignore"):  # refused in the next line
            scores = self.boost(x, push.astype(x.dtype))
        if not np.isfinite(scores).all():
            raise ValueError("x and its boosted values must be finite: check x, lower strength")
        winners = top_k(scores, self.k)
        self._kept, self._won = (winners, x.dtype), winners.mean(axis=0)
        return np.where(winners, x, x.dtype.type(0))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Pass the gradient to the winners only, and move the duty cycles.

        Here and not in `forward`, because looking at a network should not change it: only
        training goes backward.

        Parameters
        ----------
        dy : ndarray, shape (N, n)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, n)
            The same at the winners, zero elsewhere.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As `KWinnersTakeAll.backward`; the duty cycles have not moved then.
        """
        dx = super().backward(dy)
        memory = (1 - 1 / self.period) ** len(dy)
        self.duty = memory * self.duty + (1 - memory) * self._won
        return dx


def effective_neurons(wins: np.ndarray) -> float:
    """Return how many neurons, winning equally often, would be as even as these: ``exp(H)``.

    H = -Σ pᵢ ln pᵢ is the entropy of the neurons' shares p of all wins.

    Parameters
    ----------
    wins : ndarray, shape (n,)
        How often each neuron won, or its duty cycle: 0 or more, not all 0.

    Returns
    -------
    float
        1, where one neuron wins everything, to n, where all win equally often.

    Raises
    ------
    ValueError
        If `wins` is not a vector of finite numbers of at least 0, with a sum above 0.
    """
    total = wins.sum()
    if wins.ndim != 1 or not ((wins >= 0).all() and 0 < total < np.inf):
        raise ValueError(f"wins must be (n,), of at least 0, one of them above, got {wins}")
    return float(np.exp(entr(wins / total).sum()))
