"""Batch norm gives every feature mean 0 and variance 1 over the batch, then scales and shifts it.

Deep stacks train best if what each layer receives is neither tiny nor huge, and that changes while
the layers before it learn. So each feature is measured on the batch itself and brought back:

    training:    x̂ = (x - μ) / s,   s = √(σ² + ε),   μ, σ² over the batch
    in use:      the same with running averages of μ and σ², so that a sample is judged alone
    both:        y = scale ⊙ x̂ + shift
    backward:    dx̂ = scale ⊙ dy;   dx = (dx̂ - mean(dx̂) - x̂ ⊙ mean(dx̂ ⊙ x̂)) / s

In training μ and σ² are made of x, which is where the two means in dx come from; in use they are
constants, and dx = dx̂ / s. The running variance is the unbiased one. Images, where one scale
serves all places of a channel, are left out.

References
----------
Ioffe, S., Szegedy, C. (2015). Batch normalization: accelerating deep network training by reducing
    internal covariate shift. ICML.
Santurkar, S., Tsipras, D., Ilyas, A., Madry, A. (2018). How does batch normalization help
    optimization? NeurIPS.
"""

import numpy as np
from numpy.typing import DTypeLike

from lexicon.foundations.linear_layer import check_batch

__all__ = ["BatchNorm"]


class BatchNorm:
    """Normalise each feature over the batch, or in use by running averages.

    Parameters
    ----------
    features : int
        How many features a sample has, at least 1.
    momentum : float, default 0.1
        The share of the running averages that each batch replaces, above 0 and at most 1.
    epsilon : float, default 1e-5
        Added to the variance, above 0: a constant feature has none.
    dtype : float32 or float64
        The type of the parameters and of every batch.

    Attributes
    ----------
    params, grads : dict
        ``"scale"`` (features,), ones at first, and ``"shift"`` (features,), zeros; `grads` is
        filled by `backward`.
    training : bool
        True at first; what `evaluating` switches off.
    running_mean, running_variance : ndarray, shape (features,)
        Zeros and ones at first; moved, in place, by every `forward` in training.

    Raises
    ------
    TypeError
        If `dtype` is another.
    ValueError
        If `features`, `momentum` or `epsilon` is out of range.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if features < 1:
            raise ValueError(f"features must be at least 1, got {features}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be above 0 and at most 1, got {momentum}")
        if not 0 < epsilon < np.inf:
            raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.params = {"scale": np.ones(features, dtype), "shift": np.zeros(features, dtype)}
        self.grads: dict[str, np.ndarray] = {}
        self.training = True
        self.running_mean = np.zeros(features, dtype)
        self.running_variance = np.ones(features, dtype)
        self._kept: tuple[np.ndarray, np.ndarray, bool] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise a batch; in training, move the running averages towards its statistics.

        Parameters
        ----------
        x : ndarray, shape (N, features)
            A batch, in training of N ≥ 2 samples, of the type of the parameters.

        Returns
        -------
        ndarray, shape (N, features)
            The normalised, scaled and shifted features.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`; also, in training, if `x` holds a single sample: its variance is 0.
        FloatingPointError
            If `x`, in training, has a mean or variance that is not finite: it would stay in the
            running averages for ever. They are unchanged.
        """
        scale, shift = self.params["scale"], self.params["shift"]
        check_batch("x", x, len(scale), scale.dtype)
        if self.training:
            if len(x) == 1:
                raise ValueError("x must hold at least 2 samples in training, got 1")
            with np.errstate(over="ignore", invalid="ignore"):
                mean = x.mean(axis=0)
                variance = np.square(x - mean).mean(axis=0)
                unbiased = variance * (len(x) / (len(x) - 1))
            if not np.isfinite(unbiased).all():
                raise FloatingPointError("x must have a finite mean and variance in training")
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_variance += self.momentum * (unbiased - self.running_variance)
        else:
            mean, variance = self.running_mean, self.running_variance
        s = np.sqrt(variance + self.epsilon)
        x_hat = (x - mean) / s
        self._kept = x_hat, s, self.training
        return scale * x_hat + shift

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, features)
            The gradient of the loss with respect to the output of the last `forward`.

        Returns
        -------
        ndarray, shape (N, features)
            The gradient of the loss with respect to that `forward`'s input, in the mode in which
            it ran.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x_hat, s, training = self._kept
        scale = self.params["scale"]
        check_batch("dy", dy, len(scale), scale.dtype, samples=len(x_hat))
        self._kept = None
        self.grads = {"scale": (dy * x_hat).sum(axis=0), "shift": dy.sum(axis=0)}
        dx_hat = scale * dy
        if training:
            dx_hat = dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)
        return dx_hat / s
