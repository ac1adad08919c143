"""Activation pruning scores a connection by how often the neuron it reads is not zero.

A ReLU neuron that is zero for a sample adds nothing to it, whatever the weights behind it are. So
count, over N samples, where the input j of a layer fires, and give every weight that reads j that
share as its score:

    rateⱼ = 1/N Σₙ [xₙⱼ ≠ 0]        scoreᵢⱼ = rateⱼ

One minus the rate is the average percentage of zeros, APoZ. All weights that read one neuron share
a score: what goes are neurons, or pixels, with all their connections. A rate of zero is a proof for
these samples, a small one only a guess. Iterated trimming and retraining are left out.

References
----------
Hu, H., Peng, R., Tai, Y., Tang, C. (2016). Network trimming: a data-driven neuron pruning approach
    towards efficient deep architectures. arXiv:1607.03250.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential, trace_inputs
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import prunable_layers

__all__ = ["activation_scores", "firing_rates"]


def firing_rates(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Count how often each input of each layer with weights is not zero.

    Parameters
    ----------
    network : Sequential
        A trained network: its weights in `Linear` or `CSRLinear` layers, those of a `Sequential`
        inside it too. Each layer runs forward once.
    x : ndarray, shape (N, in)
        Samples of all classes, finite.

    Returns
    -------
    dict of str to ndarray, shape (in,) each
        The share of samples, 0 to 1, by the name of the weight that reads the input:
        ``"0.weight"`` for the pixels, ``"2.weight"`` for the first hidden layer.

    Raises
    ------
    TypeError
        If another kind of layer has weights, or `x` is not of their type.
    ValueError
        If `x` or a parameter is not finite, or `x` is not a batch that fits.
    """
    prunable_layers(network)  # refuses others before anything runs
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    inputs = trace_inputs(network, x)
    return {name: (received != 0).mean(axis=0) for name, received in inputs.items()}


def activation_scores(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight of a network by how often its input fires.

    Parameters
    ----------
    network : Sequential
        As `firing_rates` takes it.
    x : ndarray, shape (N, in)
        Samples of all classes, finite.

    Returns
    -------
    dict of str to ndarray
        The rate of the input that a weight reads, under the names and with the shapes of
        ``network.params``; higher = keep. Biases are not scored.

    Raises
    ------
    TypeError, ValueError
        As `firing_rates`.
    """
    layers = prunable_layers(network)
    scores = {}
    for name, rate in firing_rates(network, x).items():
        layer = layers[name]
        if isinstance(layer, CSRLinear):
            scores[name] = rate[layer.weight.indices]  # of the stored connections only
        else:
            scores[name] = np.tile(rate, (len(layer.params["weight"]), 1))
    return scores
