"""Layer norm gives every sample mean 0 and variance 1 over its own features, then scale and shift.

Batch norm needs a batch, and treats a sample differently in training than in use. Turn the table
by a quarter: measure along the features of one sample. No other sample is asked, nothing has to be
remembered, and training and use are the same. RMSNorm leaves the mean alone:

    LayerNorm:  x̂ = (x - μ) / s,   s = √(σ² + ε),           y = scale ⊙ x̂ + shift
    RMSNorm:    x̂ = x / r,         r = √(mean(x²) + ε),     y = scale ⊙ x̂
    backward:   dx̂ = scale ⊙ dy
    LayerNorm:  dx = (dx̂ - mean(dx̂) - x̂ ⊙ mean(dx̂ ⊙ x̂)) / s
    RMSNorm:    dx = (dx̂ - x̂ ⊙ mean(dx̂ ⊙ x̂)) / r

Every mean and σ² is taken over the last axis, sample by sample.

References
----------
Ba, J., Kiros, J., Hinton, G. (2016). Layer normalization. arXiv:1607.06450.
Zhang, B., Sennrich, R. (2019). Root mean square layer normalization. NeurIPS.
"""

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm:
    """Normalise each sample over its features, then scale and shift.

    Parameters
    ----------
    features : int
        The length of the last axis, at least 2: a single feature less its own mean is 0.
    epsilon : float, default 1e-5
        Added to the variance, above 0: a sample of equal features has none.
    dtype : float32 or float64
        The type of the parameters and of every batch.

    Attributes
    ----------
    params, grads : dict
        ``"scale"`` (features,), ones at first, and ``"shift"`` (features,), zeros; `grads` is
        filled by `backward`.

    Raises
    ------
    TypeError
        If `dtype` is another.
    ValueError
        If `features` or `epsilon` is out of range.
    """

    def __init__(
        self, features: int, *, epsilon: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        _check_settings(features, 2, epsilon, dtype)
        self.epsilon = float(epsilon)
        self.params = {"scale": np.ones(features, dtype), "shift": np.zeros(features, dtype)}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise each sample.

        Parameters
        ----------
        x : ndarray, shape (N, ..., features)
            A batch of N ≥ 1 samples, of the type of the parameters; also a sequence of
            positions (N, T, features), each of which is normalised alone.

        Returns
        -------
        ndarray, shape of `x`
            The normalised, scaled and shifted features.

        Raises
        ------
        TypeError
            If `x` is of another type.
        ValueError
            If `x` is of another shape.
        """
        scale, shift = self.params["scale"], self.params["shift"]
        _check_features("x", x, scale)
        centred = x - x.mean(axis=-1, keepdims=True)
        s = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + self.epsilon)
        x_hat = centred / s
        self._kept = x_hat, s
        return scale * x_hat + shift

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape of the last output
            The gradient of the loss with respect to that output.

        Returns
        -------
        ndarray, shape of the last input
            The gradient of the loss with respect to that input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type.
        ValueError
            If `dy` is of another shape.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x_hat, s = self._kept
        scale = self.params["scale"]
        _check_features("dy", dy, scale, x_hat.shape)
        self._kept = None
        others = tuple(range(dy.ndim - 1))
        self.grads = {"scale": (dy * x_hat).sum(axis=others), "shift": dy.sum(axis=others)}
        dx_hat = scale * dy
        along = (dx_hat * x_hat).mean(axis=-1, keepdims=True)
        return (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat * along) / s


class RMSNorm:
    """Divide each sample by its root mean square, then scale.

    Parameters
    ----------
    features : int
        The length of the last axis, at least 1.
    epsilon : float, default 1e-5
        Added to the mean square, above 0: a sample of zeros has none.
    dtype : float32 or float64
        The type of the parameters and of every batch.

    Attributes
    ----------
    params, grads : dict
        ``"scale"`` (features,), ones at first; `grads` is filled by `backward`.

    Raises
    ------
    TypeError
        If `dtype` is another.
    ValueError
        If `features` or `epsilon` is out of range.
    """

    def __init__(
        self, features: int, *, epsilon: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        _check_settings(features, 1, epsilon, dtype)
        self.epsilon = float(epsilon)
        self.params = {"scale": np.ones(features, dtype)}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Divide each sample by its root mean square.

        Parameters
        ----------
        x : ndarray, shape (N, ..., features)
            A batch, as `LayerNorm` takes it.

        Returns
        -------
        ndarray, shape of `x`
            The scaled features.

        Raises
        ------
        TypeError
            If `x` is of another type.
        ValueError
            If `x` is of another shape.
        """
        scale = self.params["scale"]
        _check_features("x", x, scale)
        r = np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + self.epsilon)
        x_hat = x / r
        self._kept = x_hat, r
        return scale * x_hat

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape of the last output
            The gradient of the loss with respect to that output.

        Returns
        -------
        ndarray, shape of the last input
            The gradient of the loss with respect to that input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type.
        ValueError
            If `dy` is of another shape.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x_hat, r = self._kept
        scale = self.params["scale"]
        _check_features("dy", dy, scale, x_hat.shape)
        self._kept = None
        self.grads = {"scale": (dy * x_hat).sum(axis=tuple(range(dy.ndim - 1)))}
        dx_hat = scale * dy
        return (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)) / r


def _check_settings(features: int, least: int, epsilon: float, dtype: DTypeLike) -> None:
    if features < least:
        raise ValueError(f"features must be at least {least}, got {features}")
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")


def _check_features(
    name: str, value: np.ndarray, scale: np.ndarray, shape: tuple[int, ...] | None = None
) -> None:
    if value.dtype != scale.dtype:
        raise TypeError(f"{name} must be {scale.dtype} like the scale, got {value.dtype}")
    if shape is None and (value.ndim < 2 or value.shape[-1] != len(scale) or value.size == 0):
        raise ValueError(f"{name} must be (N ≥ 1, ..., {len(scale)}), got {value.shape}")
    if shape is not None and value.shape != shape:
        raise ValueError(f"{name} must be {shape}, got {value.shape}")
