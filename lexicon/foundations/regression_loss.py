"""A regression loss says how far numbers are from the numbers they should be.

With the residual r = prediction - target, three ways to charge for it, each a mean over all K
numbers of the batch, samples times outputs:

    squared   L = Σ r² / K                  dp = 2r / K
    absolute  L = Σ |r| / K                 dp = sign(r) / K
    Huber     L = Σ c (r - c/2) / K         dp = c / K          c = clip(r, -δ, δ)

Huber's is r²/2 where |r| ≤ δ and the straight line δ (|r| - δ/2) beyond, with the same value and
slope where they meet. It carries a factor 1/2, so that its slope is r itself; the squared loss
carries none, so that it is what its name says. At its kink the absolute loss takes the slope 0.
Weights for samples are left out.

References
----------
Huber, P. (1964). Robust estimation of a location parameter. Annals of Mathematical Statistics
    35(1).
Bishop, C. (2006). Pattern Recognition and Machine Learning, section 1.5.5. Springer.
"""

import numpy as np

__all__ = ["Huber", "MeanAbsoluteError", "MeanSquaredError"]


class MeanSquaredError:
    """Mean of the squared residuals; the best constant is the mean."""

    def __init__(self) -> None:
        self._kept: np.ndarray | None = None

    def forward(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """Compute the loss, and keep what `backward` needs.

        Parameters
        ----------
        predictions : ndarray, any shape, usually (N,) or (N, outputs)
            What the network said, floating point and finite.
        targets : ndarray, same shape and type
            What it should have said.

        Returns
        -------
        float
            The mean over all numbers, in the square of the targets' unit.

        Raises
        ------
        TypeError
            If `predictions` is not floating point, or `targets` is of another type.
        ValueError
            If the shapes differ, or `predictions` is empty, or a difference is not finite.
        """
        self._kept = r = _residuals(predictions, targets)
        # Squares in float64: those of a float16 overflow from 256 on.
        return float(np.square(r, dtype=np.float64).mean())

    def backward(self) -> np.ndarray:
        """Return the gradient with respect to the predictions.

        Returns
        -------
        ndarray, shape and type of the predictions
            Twice the residual, over the number of residuals.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        r, self._kept = self._kept, None
        return r * (2 / r.size)


class MeanAbsoluteError:
    """Mean of the residuals' sizes; the best constant is the median."""

    def __init__(self) -> None:
        self._kept: np.ndarray | None = None

    def forward(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """Compute the loss, and keep what `backward` needs.

        Parameters
        ----------
        predictions : ndarray, any shape, usually (N,) or (N, outputs)
            What the network said, floating point and finite.
        targets : ndarray, same shape and type
            What it should have said.

        Returns
        -------
        float
            The mean over all numbers, in the targets' unit.

        Raises
        ------
        TypeError
            If `predictions` is not floating point, or `targets` is of another type.
        ValueError
            If the shapes differ, or `predictions` is empty, or a difference is not finite.
        """
        self._kept = r = _residuals(predictions, targets)
        return float(np.abs(r).mean(dtype=np.float64))

    def backward(self) -> np.ndarray:
        """Return the gradient with respect to the predictions.

        Returns
        -------
        ndarray, shape and type of the predictions
            The residual's sign, over the number of residuals; 0 where a residual is 0.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        r, self._kept = self._kept, None
        return np.sign(r) * (1 / r.size)


class Huber:
    """Half the square of small residuals, a straight line for large ones.

    Parameters
    ----------
    delta : float, default 1.0
        δ, above 0 and finite, in the unit of the targets: from where a residual is large.

    Raises
    ------
    ValueError
        If `delta` is not.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not 0 < delta < np.inf:
            raise ValueError(f"delta must be above 0 and finite, got {delta}")
        self.delta = float(delta)  # a NumPy float64 would make float64 of a float32
        self._kept: np.ndarray | None = None

    def forward(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """Compute the loss, and keep what `backward` needs.

        Parameters
        ----------
        predictions : ndarray, any shape, usually (N,) or (N, outputs)
            What the network said, floating point and finite.
        targets : ndarray, same shape and type
            What it should have said.

        Returns
        -------
        float
            The mean over all numbers, in the square of the targets' unit.

        Raises
        ------
        TypeError
            If `predictions` is not floating point, or `targets` is of another type.
        ValueError
            If the shapes differ, or `predictions` is empty, or a difference is not finite.
        """
        r = _residuals(predictions, targets)
        self._kept = c = np.clip(r, -self.delta, self.delta)
        return float(np.multiply(c, r - c / 2, dtype=np.float64).mean())

    def backward(self) -> np.ndarray:
        """Return the gradient with respect to the predictions.

        Returns
        -------
        ndarray, shape and type of the predictions
            The residual, never further from 0 than δ, over the number of residuals.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        c, self._kept = self._kept, None
        return c * (1 / c.size)


def _residuals(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if not np.issubdtype(predictions.dtype, np.floating):
        raise TypeError(f"predictions must be floating point, got {predictions.dtype}")
    if targets.dtype != predictions.dtype:
        raise TypeError(
            f"targets must be {predictions.dtype} like predictions, got {targets.dtype}"
        )
    if targets.shape != predictions.shape:
        raise ValueError(
            f"targets must be {predictions.shape} like predictions, got {targets.shape}"
        )
    if predictions.size == 0:
        raise ValueError(f"predictions must hold at least one number, got {predictions.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        r = predictions - targets
    if not np.isfinite(r).all():
        raise ValueError("predictions and targets must be finite, and so must their difference")
    return r
