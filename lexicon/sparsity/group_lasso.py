"""Group lasso is L1 on the lengths of groups of weights: a group shrinks as one and dies as one.

With all inputs of a neuron as a group, a row of W, whole neurons go to zero and can be cut out,
where plain L1 leaves holes all over the matrix. The penalty adds lengths, not squares of lengths:
λ Σ √n ‖wᵢ‖ over the rows wᵢ of n weights. Its proximal step is the soft threshold of the length:

    wᵢ ← wᵢ max(0, 1 - t / ‖wᵢ‖),   t = √n η λ / (1 - β)

It stands still where gᵢ = -λ √n wᵢ / ‖wᵢ‖, or wᵢ = 0 and ‖gᵢ‖ ≤ λ √n. A group of one weight is L1
(`l1_regularization`). A dead neuron still says f(bᵢ), a constant. Cutting it out, groups that
overlap, and sparsity within a group are left out.

References
----------
Yuan, M., Lin, Y. (2006). Model selection and estimation in regression with grouped variables.
    Journal of the Royal Statistical Society, Series B 68(1).
Wen, W., Wu, C., Wang, Y., Chen, Y., Li, H. (2016). Learning structured sparsity in deep neural
    networks. NeurIPS.
Scardapane, S., Comminiello, D., Hussain, A., Uncini, A. (2017). Group sparse regularization for
    deep neural networks. Neurocomputing 241.
"""

from collections.abc import Sequence

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.sparsity.l1_regularization import ProximalL1, soft_threshold
from lexicon.training.gradient_descent import Optimizer

__all__ = ["ProximalGroupLasso", "group_soft_threshold"]


def group_soft_threshold(weight: np.ndarray, threshold: float) -> np.ndarray:
    """Shorten every row by a threshold, and no further than to zero; directions stay.

    Parameters
    ----------
    weight : ndarray, shape (groups, members)
        A group a row, floating point, finite; not changed. For columns pass ``weight.T``.
    threshold : float
        By how much, 0 or above.

    Returns
    -------
    ndarray, shape and type of `weight`
        ``wᵢ · max(0, 1 - threshold / ‖wᵢ‖)``.

    Raises
    ------
    TypeError
        If `weight` is not floating point.
    ValueError
        If `weight` is not a matrix, or `threshold` is negative, NaN or infinite.
    """
    if not np.issubdtype(weight.dtype, np.floating):
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"weight must be (groups, members), got {weight.shape}")
    # In float64: the square of a float32 overflows at 2e19 and vanishes at 4e-23.
    length = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1, keepdims=True))
    share = soft_threshold(length, threshold) / np.where(length > 0, length, 1)
    return weight * share.astype(weight.dtype)


class ProximalGroupLasso(ProximalL1):
    """Let an optimiser step, then shorten each neuron's weights as one.

    Parameters
    ----------
    optimizer : Optimizer
        Plain descent or momentum, made for `network`.
    network : Layer
        A `Sequential` of dense layers.
    strength : float
        λ, 0 or above, for the root mean square of a neuron's weights: the factor √in is included.
    names : sequence of str, optional
        Which weights of ``network.params`` to shrink; all but the last if not given, since the
        last layer's neurons are the classes.

    Raises
    ------
    ValueError
        If `strength` is out of range, or a name is not one of the network's weights or its weight
        not a matrix.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        network: Layer,
        *,
        strength: float,
        names: Sequence[str] | None = None,
    ) -> None:
        if names is None:
            names = [name for name in network.params if name.endswith("weight")][:-1]
        super().__init__(optimizer, network, strength=strength, names=names)
        for name in names:
            shape = network.params[name].shape
            if len(shape) != 2:
                raise ValueError(f"names must be of dense weights, got {name!r} of {shape}")

    def _shrunk(self, weight: np.ndarray, threshold: float) -> np.ndarray:
        return group_soft_threshold(weight, np.sqrt(weight.shape[1]) * threshold)
