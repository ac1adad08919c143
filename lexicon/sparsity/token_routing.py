"""Token routing hands samples to experts of limited capacity, and keeps the load even.

Hardware wants every expert to have the same amount of work, so each takes at most C of the N
samples of a batch; who comes later is dropped, and counted. And because the expert that is chosen
is the one that learns, and so is chosen again, a second loss rewards an even load (Switch):

    C = ⌈factor · N · k / E⌉
    L = E Σₑ fₑ Pₑ       fₑ = share of the choices that fell on e,   Pₑ = 1/N Σₙ p[n,e]
    dz = p ⊙ (dp - Σₑ pₑ dpₑ),   dp[n,e] = E fₑ / N

fₑ counts, so it is constant between jumps and has no gradient; Pₑ has one. A sample that is
dropped gets zeros, which a residual connection turns into "unchanged". Experts that choose their
samples (Zhou and others, 2022) need no second loss, and are left out.

References
----------
Fedus, W., Zoph, B., Shazeer, N. (2022). Switch transformers: scaling to trillion parameter models
    with simple and efficient sparsity. Journal of Machine Learning Research 23(120).
Lepikhin, D., Lee, H., Xu, Y., et al. (2021). GShard: scaling giant models with conditional
    computation and automatic sharding. ICLR.
Zhou, Y., Lei, T., Liu, H., et al. (2022). Mixture-of-experts with expert choice routing. NeurIPS.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.foundations.softmax import softmax
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts

__all__ = [
    "Assignment",
    "LoadBalance",
    "RoutedMixture",
    "balance_loss",
    "expert_capacity",
    "route",
]


class Assignment(NamedTuple):
    """Which samples each expert takes.

    Parameters
    ----------
    samples : list of ndarray of int
        For every expert the samples that it takes, by their position in the batch, ascending.
    dropped : int
        How many choices found their expert full: `N · k` minus those in `samples`.
    """

    samples: list[np.ndarray]
    dropped: int


def expert_capacity(samples: int, experts: int, k: int, *, factor: float) -> int:
    """Return how many samples an expert may take: ``⌈factor · samples · k / experts⌉``.

    Parameters
    ----------
    samples : int
        N, at least 1.
    experts : int
        E, at least 1.
    k : int
        How many experts each sample chooses, 1 to `experts`.
    factor : float
        Room over an even share, above 0 and finite: 1 fits only a perfect balance.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if samples < 1 or experts < 1:
        raise ValueError(f"samples and experts must be at least 1, got {samples} and {experts}")
    if not 1 <= k <= experts:
        raise ValueError(f"k must be 1 to {experts}, got {k}")
    if not 0 < factor < np.inf:
        raise ValueError(f"factor must be above 0 and finite, got {factor}")
    return ceil(factor * samples * k / experts)


def route(logits: np.ndarray, k: int, capacity: int) -> Assignment:
    """Let each sample choose its k best experts, which serve in the order of the batch.

    Parameters
    ----------
    logits : ndarray, shape (N, E)
        The gate's scores.
    k : int
        How many experts each sample chooses, 1 to E.
    capacity : int
        How many samples an expert may take, at least 1.

    Returns
    -------
    Assignment
        The first `capacity` samples that chose each expert, and how many choices were dropped.

    Raises
    ------
    ValueError
        If `logits` is not (N ≥ 1, E ≥ 1) or holds NaN, or `k` or `capacity` is out of range.
    """
    chosen = _choice(logits, k)
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1, got {capacity}")
    samples = [np.flatnonzero(column)[:capacity] for column in chosen.T]
    return Assignment(samples, int(chosen.sum()) - sum(map(len, samples)))


def balance_loss(logits: np.ndarray, k: int) -> tuple[float, np.ndarray]:
    """Compute ``E Σ fₑ Pₑ``: how much the choices and the probabilities favour the same experts.

    Parameters
    ----------
    logits : ndarray, shape (N, E)
        The gate's scores, floating point.
    k : int
        How many experts each sample chooses, 1 to E.

    Returns
    -------
    loss : float
        1 where the load is even, E where one expert has all of it.
    gradient : ndarray, shape and type of `logits`
        The gradient with respect to them, the choices held fixed.

    Raises
    ------
    TypeError
        If `logits` is not floating point.
    ValueError
        If `logits` is not (N ≥ 1, E ≥ 1) or softmax cannot take it, or `k` is out of range.
    """
    f = _choice(logits, k).mean(axis=0, dtype=logits.dtype) / k
    p = softmax(logits)
    dp = len(f) * f / len(p)
    loss = len(f) * (f * p.mean(axis=0)).sum()
    return float(loss), p * (dp - (p * dp).sum(axis=1, keepdims=True))


class LoadBalance:
    """Pass the gate's scores on, and add the balance loss's gradient to what comes back.

    Training then minimises ``task loss + strength · balance loss`` without knowing it: put this
    layer behind the gate, ``Sequential([Linear(…), LoadBalance(0.01, 1)])``.

    Parameters
    ----------
    strength : float
        The weight of the balance loss, 0 or above; 0 only measures.
    k : int
        How many experts each sample chooses, at least 1.

    Attributes
    ----------
    loss : float or None
        The balance loss of the last `forward`, not times `strength`.
    params, grads : dict
        Empty: there is nothing to train.

    Raises
    ------
    ValueError
        If `strength` is below 0 or not finite, or `k` below 1.
    """

    def __init__(self, strength: float, k: int) -> None:
        if not 0 <= strength < np.inf:
            raise ValueError(f"strength must be 0 or above and finite, got {strength}")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.strength = strength
        self.k = k
        self.loss: float | None = None
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._gradient: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the scores as they are, and measure their balance.

        Parameters
        ----------
        x : ndarray, shape (N, E)
            The gate's scores.

        Returns
        -------
        ndarray, shape (N, E)
            A copy of them.

        Raises
        ------
        TypeError, ValueError
            As `balance_loss`, which calls `x` logits.
        """
        self.loss, self._gradient = balance_loss(x, self.k)
        return x.copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Add the gradient of the balance loss, times `strength`.

        Parameters
        ----------
        dy : ndarray, shape (N, E)
            The gradient of the task's loss with respect to the scores.

        Returns
        -------
        ndarray, shape (N, E)
            The gradient of both losses together.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the scores.
        ValueError
            If the shape is another.
        """
        if self._gradient is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        if dy.dtype != self._gradient.dtype:
            raise TypeError(f"dy must be {self._gradient.dtype} like the scores, got {dy.dtype}")
        if dy.shape != self._gradient.shape:
            raise ValueError(f"dy must be {self._gradient.shape}, got {dy.shape}")
        gradient, self._gradient = self._gradient, None
        return dy + self.strength * gradient


class RoutedMixture(MixtureOfExperts):
    """A mixture whose experts take a limited number of samples: the rest is dropped, and counted.

    Parameters
    ----------
    gate : Layer
        From (N, in) to a score for every expert, (N, experts).
    experts : sequence of Layer
        At least one, all from (N, in) to the same (N, out).
    k : int
        How many experts each sample chooses, 1 to the number of experts.
    factor : float
        The capacity of an expert over an even share, above 0 and finite.

    Attributes
    ----------
    dropped : int
        How many of the last batch's N · k choices found their expert full.

    Raises
    ------
    ValueError
        As `MixtureOfExperts`, or if `factor` is out of range.
    """

    def __init__(self, gate: Layer, experts: Sequence[Layer], k: int, *, factor: float) -> None:
        super().__init__(gate, experts, k)
        expert_capacity(1, len(experts), k, factor=factor)  # refuse a bad factor now
        self.factor = factor
        self.dropped = 0

    def choose(self, logits: np.ndarray) -> np.ndarray:
        """Mark the experts that serve each sample, first come, first served.

        Parameters
        ----------
        logits : ndarray, shape (N, E)
            The gate's scores.

        Returns
        -------
        ndarray of bool, shape (N, E)
            True at k places of a row, or fewer where an expert was full; `dropped` says how many.

        Raises
        ------
        ValueError
            As `route`.
        """
        capacity = expert_capacity(len(logits), len(self.experts), self.k, factor=self.factor)
        samples, self.dropped = route(logits, self.k, capacity)
        served = np.zeros(logits.shape, dtype=bool)
        for e, own in enumerate(samples):
            served[own, e] = True
        return served


def _choice(logits: np.ndarray, k: int) -> np.ndarray:
    if logits.ndim != 2 or logits.size == 0:
        raise ValueError(f"logits must be (N ≥ 1, E ≥ 1), got {logits.shape}")
    return top_k(logits, k)
