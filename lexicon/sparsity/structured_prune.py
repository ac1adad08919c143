"""Structured pruning removes whole neurons: what is left is a dense network, only smaller.

A removed neuron takes with it its row of weights, its bias, and the column that the next layer
reads it by. With W, b its layer and V, c the next, f between them and K the neurons that are kept:

    W' = W[K]   b' = b[K]   V' = V[:, K]   c' = c + V[:, not K] f(b[not K])
    scoreᵢ = ‖row i of W‖ · ‖column i of V‖

It is treated as if it heard nothing: then it always says f(b), and the next bias can say that in
its place. A neuron of score zero is dead, its removal changes no output; a score ignores how a
neuron's strength is shared between W and V. Scores that look at data are left out.

References
----------
Mozer, M., Smolensky, P. (1989). Skeletonization: a technique for trimming the fat from a network
    via relevance assessment. NeurIPS.
He, T., Fan, Y., Qian, Y., Tan, T., Yu, K. (2014). Reshaping deep neural network for fast decoding
    by node-pruning. ICASSP.
Neyshabur, B., Salakhutdinov, R., Srebro, N. (2015). Path-SGD: path-normalized optimization in deep
    neural networks. NeurIPS.
Liu, Z., Sun, M., Zhou, T., Huang, G., Darrell, T. (2019). Rethinking the value of network pruning.
    ICLR.
"""

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise

import numpy as np

from lexicon.foundations.activation import Activation
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear

__all__ = ["neuron_scores", "remove_neurons"]


def neuron_scores(network: Sequential) -> dict[str, np.ndarray]:
    """Score every hidden neuron by the weights that go in times those that go out.

    Parameters
    ----------
    network : Sequential
        Linear layers, with activations between them.

    Returns
    -------
    dict of str to ndarray, shape (out,) each
        The product of two norms for each neuron of a hidden layer, under the name of its weights
        in ``network.params``; higher = keep. Zero: its removal changes no output.

    Raises
    ------
    TypeError
        If there is another kind of layer.
    """
    linear = _linear(network)
    scores = {}
    for (name, layer), (_, reader) in pairwise(linear.items()):
        heard, told = layer.params["weight"], reader.params["weight"]
        # In float64: the square of a float32 vanishes at 4e-23, and zero has to mean dead.
        scores[name] = np.linalg.norm(heard.astype(np.float64), axis=1) * np.linalg.norm(
            told.astype(np.float64), axis=0
        )
    return scores


def remove_neurons(network: Sequential, keep: Mapping[str, np.ndarray]) -> Sequential:
    """Cut neurons out of a network, and let the next bias say what they say without input.

    Parameters
    ----------
    network : Sequential
        Linear layers, with activations between them; not changed.
    keep : mapping of str to ndarray of bool, shape (out,) each
        Which neurons of a hidden layer stay, by the name of its weights in ``network.params``;
        at least one of each layer. Layers that are not named keep all.

    Returns
    -------
    Sequential
        The smaller network, of copies. It needs an optimiser of its own.

    Raises
    ------
    KeyError
        If `keep` names no weights of a hidden layer.
    TypeError
        If `keep` is not bool, or `network` has another kind of layer.
    ValueError
        If `keep` does not fit its layer, or keeps no neuron of it.
    """
    linear = _linear(network)
    for name, kept in keep.items():
        if name not in [*linear][:-1]:
            raise KeyError(f"keep must name weights of hidden layers, got {name!r}")
        n_out = len(linear[name].params["weight"])
        if kept.dtype != np.bool_:
            raise TypeError(f"keep must be bool, got {kept.dtype} for {name}")
        if kept.shape != (n_out,) or not kept.any():
            raise ValueError(f"keep must mark 1 to {n_out} of {n_out} in {name}, got {kept}")
    layers: list[Layer] = []
    stays, said = None, np.empty(0)  # of the next layer's inputs, and what the others would say
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Activation):
            said = layer.function(said)[0]
            layers.append(deepcopy(layer))
            continue
        weight, bias = layer.params["weight"], layer.params["bias"]
        if stays is not None:
            weight, bias = weight[:, stays], bias + weight[:, ~stays] @ said
        stays = keep.get(f"{i}.weight")
        if stays is not None:
            weight, bias, said = weight[stays], bias[stays], bias[~stays]
        layers.append(Linear(weight, bias))
    return Sequential(layers)


def _linear(network: Sequential) -> dict[str, Linear]:
    for layer in network.layers:
        if not isinstance(layer, Linear | Activation):
            raise TypeError(
                f"network must hold Linear and Activation layers, got {type(layer).__name__}"
            )
    return {
        f"{i}.weight": layer for i, layer in enumerate(network.layers) if isinstance(layer, Linear)
    }
