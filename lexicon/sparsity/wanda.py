"""Wanda scores a weight by its size times the size of the input that it meets.

A weight is small or large only in the unit of its input: what reaches the output is their product.
Over N samples the products of one connection form a vector, and its length is what the output
would lose:

    scoreᵢⱼ = |wᵢⱼ| · ‖xⱼ‖₂        ‖xⱼ‖₂ = √(Σₙ xₙⱼ²)

Within one output neuron all scores are lengths in the same unit, so each neuron keeps its own best
(`neuron_masks`). One pass forward, no gradient and no retraining. Every layer is scored with the
inputs that it has in the network as given; the paper prunes a layer before it looks at the next.

References
----------
Sun, M., Liu, Z., Bair, A., Kolter, J. (2023). A simple and effective pruning approach for large
    language models. arXiv:2306.11695.
LeCun, Y., Denker, J., Solla, S. (1990). Optimal brain damage. NeurIPS.
Hassibi, B., Stork, D. (1993). Second order derivatives for network pruning: optimal brain surgeon.
    NeurIPS.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential, trace_inputs
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import prunable_layers

__all__ = ["wanda_scores"]


def wanda_scores(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight of a network by its size times the length of its input.

    Parameters
    ----------
    network : Sequential
        A trained network: its weights in `Linear` or `CSRLinear` layers, those of a `Sequential`
        inside it too. Each layer runs forward once.
    x : ndarray, shape (N, in)
        Samples of all classes, finite.

    Returns
    -------
    dict of str to ndarray
        ``|w| ‖xⱼ‖₂`` over these samples, under the names and with the shapes of
        ``network.params``; higher = keep. Biases are not scored.

    Raises
    ------
    TypeError
        If another kind of layer has weights, or `x` is not of their type.
    ValueError
        If `x` or a parameter is not finite, or `x` is not a batch that fits.
    """
    layers = prunable_layers(network)
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    scores = {}
    for name, received in trace_inputs(network, x).items():
        # In float64: squares of small float32 numbers would be 0, those of large ones infinite.
        length = np.linalg.norm(received.astype(np.float64), axis=0).astype(received.dtype)
        layer = layers[name]
        if isinstance(layer, CSRLinear):
            length = length[layer.weight.indices]
        scores[name] = np.abs(layer.params["weight"]) * length
    return scores
