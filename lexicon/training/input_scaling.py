"""Input scaling gives every feature mean 0 and variance 1, as measured on the training data.

A weight's slope is a sum of errors times inputs, so an input in large units makes its weight's
direction steep, and the steepest direction limits the learning rate of all. For a linear layer
with half the mean squared error, the curvatures are those of the inputs alone:

    A = [x 1]ᵀ[x 1] / N = [ covariance + μμᵀ   μ ]        condition number = κmax / κmin
                          [        μᵀ          1 ]

With y = (x - μ) / s the mean is gone, the diagonal is 1, and what is left is correlation.

    forward:   y = (x - μ) / s         inverse:  x = y s + μ
    backward:  dx = dy / s

Mean and deviation are measured once, and are constants from then on. A feature that is constant
in the training data has no deviation to divide by: it is only shifted, s = 1. Scaling to a range
and removing correlations (whitening) are left out.

References
----------
LeCun, Y., Bottou, L., Orr, G., Müller, K.-R. (1998). Efficient backprop. Neural Networks: Tricks
    of the Trade, Springer.
"""

import numpy as np

from lexicon.foundations.linear_layer import check_batch

__all__ = ["Standardizer", "curvatures"]


class Standardizer:
    """Shift and scale each feature by what was measured on `x`; a layer without parameters.

    Parameters
    ----------
    x : ndarray, shape (N, features)
        The training data, and nothing else: N ≥ 2 samples, floating point and finite.

    Attributes
    ----------
    mean : ndarray, shape (features,)
        μ, of the type of `x`.
    scale : ndarray, shape (features,)
        s, the standard deviation (divided by N), and 1 where `constant`.
    constant : ndarray of bool, shape (features,)
        Features that are one number in all of `x`, or differ by less than their type can square:
        these are shifted, not scaled.
    params, grads : dict
        Empty: nothing here is learned.

    Raises
    ------
    TypeError
        If `x` is not floating point.
    ValueError
        If `x` is not (N ≥ 2, features), not finite, or so large that its variance is not.
    """

    def __init__(self, x: np.ndarray) -> None:
        _check(x, samples=2)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(axis=0, dtype=np.float64)
            deviation = x.std(axis=0, dtype=np.float64)
        if not np.isfinite(deviation).all():
            raise ValueError("x must have a finite variance")
        # Rounding leaves equal numbers a tiny deviation: compare them, do not measure them.
        self.constant = (x == x[0]).all(axis=0) | (deviation.astype(x.dtype) == 0)
        self.mean = np.where(self.constant, x[0], mean).astype(x.dtype)
        self.scale = np.where(self.constant, 1, deviation).astype(x.dtype)
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._samples = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Standardise a batch by the numbers measured before, not by its own.

        Parameters
        ----------
        x : ndarray, shape (N, features)
            A batch of N ≥ 1 samples, of the type of the training data; not changed.

        Returns
        -------
        ndarray, shape (N, features)
            The standardised batch, (x - μ) / s.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        check_batch("x", x, len(self.mean), self.mean.dtype)
        self._samples = len(x)
        return (x - self.mean) / self.scale

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to the input, in the input's units.

        Parameters
        ----------
        dy : ndarray, shape (N, features)
            The gradient of the loss with respect to the output of the last `forward`.

        Returns
        -------
        ndarray, shape (N, features)
            The gradient, dy / s.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if not self._samples:
            raise RuntimeError("backward needs a forward first, one for each backward")
        check_batch("dy", dy, len(self.mean), self.mean.dtype, samples=self._samples)
        self._samples = 0
        return dy / self.scale

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Bring standardised samples back into the units of the training data.

        Parameters
        ----------
        y : ndarray, shape (N, features)
            What `forward` returned, or anything like it; not changed.

        Returns
        -------
        ndarray, shape (N, features)
            The samples, y s + μ.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        check_batch("y", y, len(self.mean), self.mean.dtype)
        return y * self.scale + self.mean


def curvatures(x: np.ndarray) -> np.ndarray:
    """Return how steep a linear layer's squared loss is in its own directions, steepest first.

    Parameters
    ----------
    x : ndarray, shape (N, features)
        The layer's inputs, N ≥ 1 samples, floating point and finite. A column of ones for the
        bias is added.

    Returns
    -------
    ndarray of float64, shape (at most features + 1,)
        The eigenvalues of A = [x 1]ᵀ[x 1] / N, the Hessian of half the mean squared error per
        output, in descending order. The first limits the learning rate to 2/κmax; the first over
        the last is the condition number. Those that are 0 up to the rounding of float64 are left
        out: no gradient points there.

    Raises
    ------
    TypeError
        If `x` is not floating point.
    ValueError
        If `x` is not (N ≥ 1, features) or not finite.
    """
    _check(x, samples=1)
    extended = np.column_stack([x.astype(np.float64), np.ones(len(x))])
    # The singular values' squares are N times the curvatures, without squaring the rounding too.
    values = np.linalg.svd(extended, compute_uv=False)
    rounding = values[0] * max(extended.shape) * np.finfo(np.float64).eps
    return values[values > rounding] ** 2 / len(x)


def _check(x: np.ndarray, *, samples: int) -> None:
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floating point, got {x.dtype}")
    if x.ndim != 2 or len(x) < samples or x.shape[1] == 0:
        raise ValueError(f"x must be (N ≥ {samples}, features), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
