"""A straight-through layer uses only its largest weights, and trains others as if they were used.

A mask that follows the weights, M = the k largest |θ|, is a step function: its derivative is zero
almost everywhere, and a weight outside never learns that it is wanted. The straight-through
estimator leaves the step out of the backward pass. Top-KAST does so only for a set B somewhat
larger than the used set A, so that no product is dense:

    A ⊆ B: the largest |θ|, chosen anew at each forward      W = θ on A, else 0
    y  = x Wᵀ + b
    dx = dy W      dθ = dyᵀ x on B, else 0      db = Σₙ dyₙ
    with decay λ:  dθ += λ θ on A, λ/D θ on B outside A, D = |A| / (out · in)

B = everything is the straight-through estimator, B = A the gradient of the sparse layer. θ stays
dense in any case, so this saves FLOPs, not memory. That Top-KAST may rank only now and then, and
shrink B while training, is left out.

References
----------
Bengio, Y., Léonard, N., Courville, A. (2013). Estimating or propagating gradients through
    stochastic neurons for conditional computation. arXiv:1308.3432.
Jayakumar, S., Pascanu, R., Rae, J., Osindero, S., Elsen, E. (2020). Top-KAST: Top-K always sparse
    training. NeurIPS.
"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.linear_layer import Linear, check_batch
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.mask import kept
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["StraightThroughLinear"]


class StraightThroughLinear:
    """Compute ``y = x Wᵀ + b`` with the largest weights, and pass gradients to more of them.

    Parameters
    ----------
    linear : Linear
        The dense layer; its parameters are shared.
    sparsity : float
        The share of weights that the output does without, in [0, 1).
    backward_sparsity : float, default 0.0
        The share that gets no gradient either, 0 to `sparsity`. 0 is the straight-through
        estimator, above it is Top-KAST.
    weight_decay : float, default 0.0
        λ, 0 or above, added to the gradient: in place of an optimiser's, which would also wear
        down the weights that get no gradient.

    Attributes
    ----------
    params, grads : dict
        ``"weight"`` (out, in), dense, and ``"bias"`` (out,); the gradient is zero outside B.
    used, trained : ndarray of bool, shape (out, in), or None
        A and B of the last `forward`.
    sparsity, backward_sparsity, weight_decay : float
        As given; may be changed between steps, within the same bounds.

    Raises
    ------
    ValueError
        If a number is out of range, or no weight would be used.
    """

    def __init__(
        self,
        linear: Linear,
        sparsity: float,
        *,
        backward_sparsity: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        kept(linear.params["weight"].size, sparsity)
        if not 0 <= backward_sparsity <= sparsity:
            raise ValueError(
                f"backward_sparsity must be 0 to {sparsity}, the sparsity, got {backward_sparsity}"
            )
        if not 0 <= weight_decay < np.inf:
            raise ValueError(f"weight_decay must be 0 or above, finite, got {weight_decay}")
        self.sparsity, self.backward_sparsity = sparsity, backward_sparsity
        self.weight_decay = weight_decay
        self.params = linear.params
        self.grads: dict[str, np.ndarray] = {}
        self.used: np.ndarray | None = None
        self.trained: np.ndarray | None = None
        self._kept: tuple[np.ndarray, csr_array, np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Choose A and B by today's weights, and compute the outputs with A.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, of the type of the weights; kept, not copied.

        Returns
        -------
        ndarray, shape (N, out)
            The outputs.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        ValueError
            If a weight is NaN or infinite: it has no rank.
        """
        theta, bias = self.params["weight"], self.params["bias"]
        check_batch("x", x, theta.shape[1], theta.dtype)
        used = magnitude_mask(theta, self.sparsity)
        trained = np.ones_like(used)
        if self.backward_sparsity:
            trained = magnitude_mask(theta, self.backward_sparsity)
        positions = csr_array(used)
        weight = csr_array((theta[used], positions.indices, positions.indptr), theta.shape)
        self.used, self.trained, self._kept = used, trained, (x, weight, used, trained)
        return (weight @ x.T).T + bias

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads`, for all of B, and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient with respect to the input, by the weights that were used.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x, weight, used, trained = self._kept
        check_batch("dy", dy, len(trained), x.dtype, samples=len(x))
        self._kept = None
        theta = self.params["weight"]
        if trained.all():
            gradient = dy.T @ x
        else:
            positions = csr_array(trained)
            gradient = np.zeros_like(theta)
            gradient[trained] = sampled_gradient(dy, x, positions.indptr, positions.indices)
        if self.weight_decay:
            only_trained = trained & ~used
            gradient[used] += self.weight_decay * theta[used]
            gradient[only_trained] += self.weight_decay / float(used.mean()) * theta[only_trained]
        self.grads = {"weight": gradient, "bias": dy.sum(axis=0)}
        return (weight.T @ dy.T).T
