"""Filter pruning removes whole filters of a convolution, and with each the map that it makes.

A filter that goes takes its kernels and its bias, its map, and in the next layer everything that
reads that map. With kernels W (out, in, height, width), the next V, and K the filters that stay:

    scoreₒ = Σ |W_ocuv|   over channels c and window u, v
    W' = W[K]   b' = b[K]   V' = V[:, K]

Where the next layer is linear, a map owns a column for each of its places, side by side. What is
left is a smaller dense network, equal to the old one with those maps set to zero. What a filter
says without input is not folded into the next bias: beside padding it would be wrong. Layers are
cut one by one, since long filters have large sums. Branches are left out.

References
----------
Li, H., Kadav, A., Durdanovic, I., Samet, H., Graf, H. (2017). Pruning filters for efficient
    convnets. ICLR.
Mittal, D., Bhardwaj, S., Khapra, M., Ravindran, B. (2018). Recovering from random pruning: on the
    plasticity of deep convolutional neural networks. WACV.
"""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.foundations.activation import Activation
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear

__all__ = ["filter_scores", "remove_filters"]


def filter_scores(network: Sequential) -> dict[str, np.ndarray]:
    """Score every filter by the sum of its absolute weights.

    Parameters
    ----------
    network : Sequential
        Convolutions and any other layers, in a row.

    Returns
    -------
    dict of str to ndarray, shape (out,) each
        The sum for each filter of a convolution, under the name of its weights in
        ``network.params``; higher = keep. To be compared within a layer.
    """
    return {
        f"{i}.weight": np.abs(layer.params["weight"]).sum(axis=(1, 2, 3))
        for i, layer in enumerate(network.layers)
        if isinstance(layer, Convolution)
    }


def remove_filters(network: Sequential, keep: Mapping[str, np.ndarray]) -> Sequential:
    """Cut filters out of a network, and out of the next layer all that reads their maps.

    Parameters
    ----------
    network : Sequential
        Convolution, Activation, Reshape and Linear layers in a row; not changed.
    keep : mapping of str to ndarray of bool, shape (out,) each
        Which filters of a convolution stay, by the name of its weights in ``network.params``; at
        least one of each layer. Layers that are not named keep all.

    Returns
    -------
    Sequential
        The smaller network, of copies. It needs an optimiser of its own.

    Raises
    ------
    KeyError
        If `keep` names no weights of a convolution that another layer reads.
    TypeError
        If `keep` is not bool, or `network` has another kind of layer.
    ValueError
        If `keep` does not fit its layer or keeps no filter of it, or its maps are reshaped into
        something else than a vector.
    """
    _check(network, keep)
    layers: list[Layer] = []
    stays: np.ndarray | None = None  # which channels, or columns, of the next input are left
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Reshape) and stays is not None:
            if len(layer.shape) > 1:
                raise ValueError(f"keep cannot follow maps reshaped to {layer.shape}")
            # Row by row and map by map: each channel owns equally many columns, side by side.
            stays = np.repeat(stays, layer.shape[0] // len(stays))
            layers.append(Reshape((int(stays.sum()),)))
        elif isinstance(layer, Convolution | Linear):
            weight, bias = layer.params["weight"], layer.params["bias"]
            if stays is not None:
                weight = weight[:, stays]
            stays = keep.get(f"{i}.weight")
            if stays is not None:
                weight, bias = weight[stays], bias[stays]
            if isinstance(layer, Convolution):
                layers.append(Convolution(weight, bias, padding=layer.padding))
            else:
                layers.append(Linear(weight, bias))
        else:
            layers.append(deepcopy(layer))
    return Sequential(layers)


def _check(network: Sequential, keep: Mapping[str, np.ndarray]) -> None:
    for layer in network.layers:
        if not isinstance(layer, Convolution | Activation | Reshape | Linear):
            raise TypeError(
                "network must hold Convolution, Activation, Reshape and Linear layers, "
                f"got {type(layer).__name__}"
            )
    last = [name for name in network.params if name.endswith("weight")][-1:]
    read = [name for name in filter_scores(network) if name not in last]
    for name, kept in keep.items():
        if name not in read:
            raise KeyError(f"keep must name convolutions that a layer reads, got {name!r}")
        n_out = len(network.params[name])
        if kept.dtype != np.bool_:
            raise TypeError(f"keep must be bool, got {kept.dtype} for {name}")
        if kept.shape != (n_out,) or not kept.any():
            raise ValueError(f"keep must mark 1 to {n_out} of {n_out} in {name}, got {kept}")
