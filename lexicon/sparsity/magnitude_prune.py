"""Magnitude pruning removes the weights closest to zero.

The cheapest guess at which connections matter: a small weight moves the output least, if its
input is about as large as the others'. The score is |w|, the choice exact in number:

    keep the n - round(s·n) largest |wᵢⱼ| of a layer, ties by position

What remains is a sparse layer, to be fine-tuned by ordinary training. `magnitude_scores` are the
same for a whole network. Schedules, and scores that look at data or gradients, are left out.

References
----------
Janowsky, S. (1989). Pruning versus clipping in neural networks. Physical Review A 39(12).
Han, S., Pool, J., Tran, J., Dally, W. (2015). Learning both weights and connections for
    efficient neural networks. NeurIPS.
"""

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import kept, top_k

__all__ = ["magnitude_mask", "magnitude_prune", "magnitude_scores"]


def magnitude_mask(weight: np.ndarray, sparsity: float) -> np.ndarray:
    """Mark the weights of largest magnitude.

    Parameters
    ----------
    weight : ndarray, any shape
        The weights, floating point, all finite.
    sparsity : float
        The share to leave unmarked, in [0, 1).

    Returns
    -------
    ndarray of bool, shape of `weight`
        True at exactly ``kept(weight.size, sparsity)`` places.

    Raises
    ------
    TypeError
        If `weight` is not floating point.
    ValueError
        If `sparsity` is out of range or leaves nothing, or a weight is NaN or infinite.
    """
    # |-128| is -128 in int8: the largest weight would be the first to go.
    if not np.issubdtype(weight.dtype, np.floating):
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if weight.size == 0 or not np.isfinite(weight).all():
        raise ValueError("weight must hold at least one number, and no NaN or infinity")
    scores = np.abs(weight).ravel()
    return top_k(scores, kept(weight.size, sparsity)).reshape(weight.shape)


def magnitude_prune(layer: Linear, sparsity: float) -> CSRLinear:
    """Turn a dense layer into a sparse one of its largest weights.

    Parameters
    ----------
    layer : Linear
        A trained layer; not changed.
    sparsity : float
        The share of weights to remove, in [0, 1).

    Returns
    -------
    CSRLinear
        The surviving connections with their values, and all biases.

    Raises
    ------
    ValueError
        If `sparsity` is out of range or leaves nothing, or a weight is NaN or infinite.
    """
    weight = layer.params["weight"]
    return CSRLinear.from_dense(weight, magnitude_mask(weight, sparsity), layer.params["bias"])


def magnitude_scores(network: Layer) -> dict[str, np.ndarray]:
    """Score every weight of a network by its magnitude.

    Parameters
    ----------
    network : Layer
        A network, dense or sparse.

    Returns
    -------
    dict of str to ndarray
        ``|w|`` for each weight, under the names and with the shapes of ``network.params``.
        Biases are not scored: they are few, and stay.
    """
    return {name: np.abs(w) for name, w in network.params.items() if name.endswith("weight")}
