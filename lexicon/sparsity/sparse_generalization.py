"""Sparse generalization asks whether a network of few connections is right more often on new data.

A network that fits what it has seen better than what it has not, overfits. Fewer connections can
say less, so they should have less to learn by heart. The classic argument makes that a number: if B
bits describe a network, in a code agreed on before the data came, then with probability 1 - δ

    B = Σ layers log₂ C(size, nnz) + bits · (nnz + biases)      positions, then values
    true error ≤ training error + √((B ln 2 + ln 1/δ) / 2N)

For networks it promises next to nothing, so one has to measure: the gap *and* the test accuracy, in
pairs that share data and seed, where overfitting is made worse on purpose, by inputs without
meaning and by labels that are wrong. Cures for overfitting are left out.

References
----------
Blumer, A., Ehrenfeucht, A., Haussler, D., Warmuth, M. (1987). Occam's razor. Information
    Processing Letters 24(6).
LeCun, Y., Denker, J., Solla, S. (1990). Optimal brain damage. NeurIPS.
Zhang, C., Bengio, S., Hardt, M., Recht, B., Vinyals, O. (2017). Understanding deep learning
    requires rethinking generalization. ICLR.
Jin, T., Carbin, M., Roy, D., Frankle, J., Dziugaite, G. (2022). Pruning's effect on
    generalization through the lens of training and regularization. NeurIPS.
"""

from collections.abc import Sequence
from math import log, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.training.training_loop import accuracy

__all__ = [
    "Generalization",
    "Paired",
    "description_bits",
    "generalization",
    "occam_bound",
    "paired",
    "with_noise_features",
    "with_wrong_labels",
]


class Generalization(NamedTuple):
    """How a network does on what it has seen and on what it has not.

    Parameters
    ----------
    train : float
        Accuracy on the training samples, in [0, 1].
    test : float
        Accuracy on samples kept apart, in [0, 1].
    """

    train: float
    test: float

    @property
    def gap(self) -> float:
        """Return ``train - test``; alone it says little: a network that guesses has none."""
        return self.train - self.test


def generalization(
    network: Layer, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> Generalization:
    """Measure both accuracies of a trained network.

    Parameters
    ----------
    network : Layer
        Returns logits (N, classes).
    train, test : tuple of ndarray
        Samples (N, in) and their labels (N,), at least one each.

    Returns
    -------
    Generalization
        The accuracies, and their gap.

    Raises
    ------
    ValueError
        If there are no samples, or labels do not fit them.
    FloatingPointError
        If a logit is NaN.
    """
    return Generalization(accuracy(network, *train), accuracy(network, *test))


class Paired(NamedTuple):
    """What changed between two ways of doing it, over runs that share everything else.

    Parameters
    ----------
    mean : float
        Mean of the differences, second minus first.
    error : float
        Its standard error: their standard deviation, with n - 1, over √n.
    wins : int
        In how many pairs the second is larger.
    """

    mean: float
    error: float
    wins: int


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare two ways of doing it pair by pair, so that what both share cancels.

    Parameters
    ----------
    first, second : sequence of float
        A result of each for every run, in the same order: same data, same seed.

    Returns
    -------
    Paired
        Of ``second - first``.

    Raises
    ------
    ValueError
        If they are not equally many numbers, at least two, or one is not finite.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"first and second must be equally many, 2 or more, got {a.shape}, {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("first and second must be finite")
    difference = b - a
    error = difference.std(ddof=1) / sqrt(len(a))
    return Paired(float(difference.mean()), float(error), int((difference > 0).sum()))


def description_bits(network: Sequential) -> float:
    """Count the bits that name a network's connections and their values.

    Parameters
    ----------
    network : Sequential
        A `CSRLinear` needs its positions named; other layers store all of their numbers.

    Returns
    -------
    float
        B: ``log₂ C(size, nnz)`` for each CSR layer, and the bits of every parameter.
    """
    bits = 0.0
    for _, layer in named_layers(network):
        bits += sum(8 * theta.nbytes for theta in layer.params.values())
        if isinstance(layer, CSRLinear):
            size, nnz = layer.weight.shape[0] * layer.weight.shape[1], layer.weight.nnz
            choices = gammaln(size + 1) - gammaln(nnz + 1) - gammaln(size - nnz + 1)
            bits += float(choices) / log(2)
    return bits


def occam_bound(bits: float, n_samples: int, *, confidence: float = 0.95) -> float:
    """Return how much worse than on its training samples a network of few bits can be.

    Parameters
    ----------
    bits : float
        B, 0 or above, in a code that was fixed before the samples were drawn.
    n_samples : int
        N, how many training samples, at least 1.
    confidence : float, default 0.95
        1 - δ, in (0, 1): how likely the bound has to hold for all networks at once.

    Returns
    -------
    float
        ``√((B ln 2 + ln 1/δ) / 2N)``; from 1 on it promises nothing.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not 0 <= bits < np.inf:
        raise ValueError(f"bits must be 0 or above and finite, got {bits}")
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    return sqrt((bits * log(2) - log(1 - confidence)) / (2 * n_samples))


def with_noise_features(x: np.ndarray, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Append inputs that mean nothing: there is a way to fit them, and no reason to.

    Parameters
    ----------
    x : ndarray, shape (N, in)
        Samples, floating point and finite; not changed.
    count : int
        How many to append, 0 or more.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    ndarray, shape (N, in + count)
        `x`, then normal noise of mean 0 and of the standard deviation of all numbers in `x`.

    Raises
    ------
    TypeError
        If `x` is not floating point.
    ValueError
        If `x` is not (N, in), empty or not finite, or `count` is negative.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floating point, got {x.dtype}")
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"x must be (N, in), finite and not empty, got {x.shape}")
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    noise = x.std(dtype=np.float64) * rng.standard_normal((len(x), count))
    return np.hstack([x, noise.astype(x.dtype)])


def with_wrong_labels(
    labels: np.ndarray, share: float, *, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Replace a share of the labels by another class: they can only be learned by heart.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        The true classes, 0 to ``classes - 1``; not changed.
    share : float
        The share to replace, in [0, 1].
    classes : int
        How many classes there are, at least 2.
    rng : numpy.random.Generator
        Chooses whom, and which of the other classes, all equally likely.

    Returns
    -------
    ndarray of int, shape (N,)
        With exactly ``round(share · N)`` wrong ones.

    Raises
    ------
    TypeError
        If `labels` are not integers.
    ValueError
        If a number is out of range, or `labels` is not (N,).
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
    if labels.ndim != 1 or (labels.size and not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"labels must be (N,), 0 to {classes - 1}, got shape {labels.shape}")
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    other = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    changed[chosen] = other
    return changed
