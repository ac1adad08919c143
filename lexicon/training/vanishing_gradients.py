"""Vanishing gradients shrink by a factor in each layer on the way back, until none is left.

The way back is a product: one factor for each layer. Through z = x Wᵀ + b with x = f(z₋₁) the
gradient with respect to z₋₁ is (dz W) ⊙ f'(z₋₁), a sum of n_out terms times a slope. If weights,
slopes and gradients are independent of each other, and the weights have mean 0:

    mean(dz₋₁²) = n_out · Var(w) · mean(f'²) · mean(dz²)        on average over the draws

Below 1 such a factor makes gradients vanish, above 1 it makes them explode: both grow with the
power of the depth. The sigmoid's slope is 1/4 at most, so it starts from 1/16. How a recurrent
network meets the same factor in time is left out.

References
----------
Hochreiter, S. (1991). Untersuchungen zu dynamischen neuronalen Netzen. Diploma thesis, Technische
    Universität München.
Bengio, Y., Simard, P., Frasconi, P. (1994). Learning long-term dependencies with gradient descent
    is difficult. IEEE Transactions on Neural Networks 5(2).
Glorot, X., Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural
    networks. AISTATS.
Yang, G., Pennington, J., Rao, V., Sohl-Dickstein, J., Schoenholz, S. (2019). A mean field theory
    of batch normalization. ICLR.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lexicon.foundations.forward_pass import Sequential, trace_signals

__all__ = ["Sizes", "gradient_sizes", "layer_factor"]


class Sizes(NamedTuple):
    """How large the gradients at one layer are: root mean squares, whatever the layer's width.

    Parameters
    ----------
    output : float
        Of the gradient with respect to the layer's output, which comes from the layers above.
    weight : float
        Of the gradient with respect to its weights, which is what moves them.
    """

    output: float
    weight: float


def gradient_sizes(
    network: Sequential, x: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Sizes]:
    """Measure the gradient at each layer with weights.

    Parameters
    ----------
    network : Sequential
        The layers; runs forward and back once, in the mode it is in, and fills its `grads`.
    x : ndarray, shape (N, in)
        A batch.
    gradient : callable
        Takes the network's output (N, out), returns the gradient with respect to it.

    Returns
    -------
    dict of str to Sizes
        By the name of the weight in ``network.params``, such as ``"0.weight"``, in the order of
        the data: the first layer first.
    """
    signals = trace_signals(network, x, gradient)
    grads = network.grads
    return {name: Sizes(_size(dy), _size(grads[name])) for name, (_, dy) in signals.items()}


def layer_factor(weight: np.ndarray, slope: np.ndarray) -> float:
    """Predict by how much one layer changes the size of the gradient on its way back.

    Parameters
    ----------
    weight : ndarray, shape (out, in)
        The weights of a linear layer.
    slope : ndarray, shape (N, in)
        The derivatives f' of the activation that made the layer's input.

    Returns
    -------
    float
        The root of n_out · mean(w²) · mean(f'²): the size after the layer and its activation,
        over the size before, on average over draws of such weights.

    Raises
    ------
    ValueError
        If `slope` is not (N, in), or one of the two is empty.
    """
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight must be (out, in), neither of them 0, got {weight.shape}")
    if slope.ndim != 2 or slope.shape[1] != weight.shape[1] or len(slope) == 0:
        raise ValueError(f"slope must be (N ≥ 1, {weight.shape[1]}), got {slope.shape}")
    return float(np.sqrt(len(weight)) * _size(weight) * _size(slope))


def _size(a: np.ndarray) -> float:
    # In float64: the square of a float32 vanishes at 4e-23, and here small numbers are the point.
    return float(np.sqrt(np.square(a, dtype=np.float64).mean()))
