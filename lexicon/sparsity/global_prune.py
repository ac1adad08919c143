"""Global pruning ranks the weights of all layers together, and lets each layer keep what it earns.

A score says how much each weight is worth; what remains to be chosen is whom it competes with.
Within its own neuron or its own layer, every neuron or layer loses the same share; within the
whole network, the layers with the better scores keep more:

    per neuron   the k best of each row          k from one row's size
    per layer    the k best of each layer        k from one layer's size
    global       the k best of all               k from all weights: one threshold θ for all

Every way keeps exactly n - round(s·n), ties by position. Scores of different layers have to be in
one unit to be ranked together, and nothing guards a small layer from losing all (`layer_collapse`).
Any score will do: `random_scores` is the control that a clever one has to beat.

References
----------
Blalock, D., Gonzalez Ortiz, J., Frankle, J., Guttag, J. (2020). What is the state of neural
    network pruning? MLSys.
Frankle, J., Carbin, M. (2019). The lottery ticket hypothesis: finding sparse, trainable neural
    networks. ICLR.
"""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import kept, top_k

__all__ = [
    "global_masks",
    "layer_masks",
    "neuron_masks",
    "prunable_layers",
    "prune_network",
    "random_scores",
]

Scores = Mapping[str, np.ndarray]
Masks = dict[str, np.ndarray]


def global_masks(scores: Scores, sparsity: float) -> Masks:
    """Keep the best weights of all layers together.

    Parameters
    ----------
    scores : mapping of str to ndarray
        What each weight is worth, by its name in ``network.params``; no NaN.
    sparsity : float
        The share of all weights to remove, in [0, 1).

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(all weights, sparsity)``, in the scores' shapes; among equals the
        first, layer by layer.

    Raises
    ------
    ValueError
        If there are no scores, one is NaN, or `sparsity` is out of range or leaves nothing.
    """
    _check(scores)
    together = np.concatenate([score.ravel() for score in scores.values()])
    best = top_k(together, kept(together.size, sparsity))
    ends = np.cumsum([score.size for score in scores.values()])
    return {
        name: part.reshape(score.shape)
        for (name, score), part in zip(scores.items(), np.split(best, ends[:-1]), strict=True)
    }


def layer_masks(scores: Scores, sparsity: float) -> Masks:
    """Keep the best weights of each layer, the same share of every layer.

    Parameters
    ----------
    scores : mapping of str to ndarray
        As `global_masks` takes them.
    sparsity : float
        The share of each layer's weights to remove, in [0, 1).

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(size, sparsity)`` of each layer.

    Raises
    ------
    ValueError
        As `global_masks`, and if a layer would keep nothing.
    """
    _check(scores)
    return {
        name: top_k(score.ravel(), kept(score.size, sparsity)).reshape(score.shape)
        for name, score in scores.items()
    }


def neuron_masks(scores: Scores, sparsity: float) -> Masks:
    """Keep the best inputs of each neuron, equally many for all neurons of a layer.

    Parameters
    ----------
    scores : mapping of str to ndarray, shape (out, in) each
        As `global_masks` takes them, of dense layers.
    sparsity : float
        The share of each neuron's weights to remove, in [0, 1).

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(in, sparsity)`` of every row.

    Raises
    ------
    ValueError
        As `global_masks`, and if scores are not a matrix or a neuron would keep nothing.
    """
    _check(scores)
    for name, score in scores.items():
        if score.ndim != 2:
            raise ValueError(f"scores of {name} must be (out, in), got {score.shape}")
    return {name: top_k(score, kept(score.shape[1], sparsity)) for name, score in scores.items()}


def prunable_layers(network: Sequential) -> dict[str, Linear | CSRLinear]:
    """Find the layers whose weights can be scored and pruned: all that have any.

    Parameters
    ----------
    network : Sequential
        Its weights in `Linear` or `CSRLinear` layers, those of a `Sequential` inside it too.

    Returns
    -------
    dict of str to Linear or CSRLinear
        By the weight's name in ``network.params``, in the order of the data.

    Raises
    ------
    TypeError
        If a layer of another kind has weights.
    ValueError
        If a parameter is NaN or infinite: what is made of it has no rank.
    """
    for name, theta in network.params.items():
        if not np.isfinite(theta).all():
            raise ValueError(f"network must have finite parameters, {name} has not")
    found: dict[str, Linear | CSRLinear] = {}
    for name, layer in named_layers(network):
        if isinstance(layer, Linear | CSRLinear):
            found[f"{name}.weight"] = layer
        elif "weight" in layer.params:
            raise TypeError(
                f"network must hold weights in Linear or CSRLinear, got {type(layer).__name__}"
            )
    return found


def random_scores(network: Layer, *, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Score every weight of a network by chance.

    Parameters
    ----------
    network : Layer
        A network, dense or sparse.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    dict of str to ndarray
        Uniform in [0, 1), under the names and with the shapes of the weights in
        ``network.params``.
    """
    return {
        name: rng.random(weight.shape)
        for name, weight in network.params.items()
        if name.endswith("weight")
    }


def prune_network(network: Sequential, masks: Mapping[str, np.ndarray]) -> Sequential:
    """Store only what masks mark: a sparse network with the values of a given one.

    Parameters
    ----------
    network : Sequential
        Linear and CSR layers, those of a `Sequential` inside it too, and any others; not changed.
    masks : mapping of str to ndarray of bool
        What to keep, by the weight's name in ``network.params`` and of its shape: (out, in) of a
        dense layer, (nnz,) of a CSR layer.

    Returns
    -------
    Sequential
        A CSR layer for each mask, copies of all other layers. It needs an optimiser of its own.

    Raises
    ------
    KeyError
        If a mask names no weight of the network.
    TypeError
        If a mask is not bool, or belongs to another layer than `Linear` or `CSRLinear`.
    ValueError
        If a mask is not shaped like its weight.
    """
    for name, mask in masks.items():
        if name not in network.params or not name.endswith("weight"):
            raise KeyError(f"masks must name weights of the network, got {name!r}")
        if mask.dtype != np.bool_:
            raise TypeError(f"masks must be bool, got {mask.dtype} for {name}")
        if mask.shape != network.params[name].shape:
            raise ValueError(
                f"masks of {name} must be {network.params[name].shape}, got {mask.shape}"
            )
    return Sequential(
        [
            _pruned(
                layer,
                {n.removeprefix(f"{i}."): m for n, m in masks.items() if n.startswith(f"{i}.")},
            )
            for i, layer in enumerate(network.layers)
        ]
    )


def _pruned(layer: Layer, masks: Masks) -> Layer:
    if not masks:
        return deepcopy(layer)
    if isinstance(layer, Sequential):
        return prune_network(layer, masks)
    mask = masks["weight"]
    if isinstance(layer, Linear):
        return CSRLinear.from_dense(layer.params["weight"], mask, layer.params["bias"])
    if not isinstance(layer, CSRLinear):
        raise TypeError(f"masks must be of Linear or CSRLinear, got one of {type(layer).__name__}")
    weight = layer.weight
    starts = np.append(0, np.cumsum(mask))[weight.indptr]
    stored = csr_array((weight.data[mask], weight.indices[mask], starts), weight.shape)
    return CSRLinear(stored, layer.params["bias"], threads=layer.threads)


def _check(scores: Scores) -> None:
    if not scores:
        raise ValueError("scores must hold at least one layer")
    for name, score in scores.items():
        if np.isnan(score).any():
            raise ValueError(f"scores of {name} must not hold NaN: it has no rank")
