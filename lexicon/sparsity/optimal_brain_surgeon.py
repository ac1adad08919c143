"""The optimal brain surgeon removes the weight that costs least once the others make up for it.

A linear layer's output error is exactly a parabola of its weights. With W' for the weights after
pruning, and one H for all output neurons:

    E = ‖x (W' - W)ᵀ‖² / 2N = ½ Σᵢ δᵢᵀ H δᵢ        H = xᵀx / N + γ h I

δᵢ is the change of row i, h the mean of the diagonal of xᵀx / N, γ the damping. Removing weight q
forces δ_q = -w_q. If the other weights stand still, or move to where E is least again:

    OBD    cost ½ H_qq w_q²              δ = -w_q e_q
    OBS    cost ½ w_q² / [H⁻¹]_qq        δ = -(w_q / [H⁻¹]_qq) H⁻¹ e_q

Then q is eliminated from H⁻¹, and the next weight is looked for. Each removal is the best one, all
of them together need not be. The Hessian of the whole network's loss is left out, as are sparse
layers: a row that has lost weights needs an H of its own.

References
----------
LeCun, Y., Denker, J., Solla, S. (1990). Optimal brain damage. NeurIPS.
Hassibi, B., Stork, D. (1993). Second order derivatives for network pruning: optimal brain surgeon.
    NeurIPS.
Dong, X., Chen, S., Pan, S. (2017). Learning to prune deep neural networks via layer-wise optimal
    brain surgeon. NeurIPS.
Frantar, E., Alistarh, D. (2022). Optimal brain compression: a framework for accurate post-training
    quantization and pruning. NeurIPS.
"""

from collections.abc import Callable
from copy import deepcopy

import numpy as np

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.global_prune import prune_network
from lexicon.sparsity.mask import kept

__all__ = [
    "obd_scores",
    "obs_scores",
    "optimal_brain_surgeon",
    "output_hessian",
    "remove_in_turn",
    "surgeon_network",
]


def output_hessian(x: np.ndarray, *, damping: float = 0.01) -> np.ndarray:
    """Return the second derivatives of a layer's output error by the weights of one neuron.

    Parameters
    ----------
    x : ndarray, shape (N, in)
        What the layer receives, floating point, finite.
    damping : float, default 0.01
        γ, at least 0: how much of its mean is added to the diagonal.

    Returns
    -------
    ndarray of float64, shape (in, in)
        ``H = xᵀx / N + γ h I``, the same for every neuron.

    Raises
    ------
    TypeError
        If `x` is not floating point.
    ValueError
        If `x` is not a batch or not finite, or `damping` is out of range.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floating point, got {x.dtype}")
    if x.ndim != 2 or 0 in x.shape or not np.isfinite(x).all():
        raise ValueError(f"x must be (N ≥ 1, in ≥ 1) and finite, got {x.shape}")
    if not 0 <= damping < np.inf:
        raise ValueError(f"damping must be at least 0 and finite, got {damping}")
    x = x.astype(np.float64)
    hessian = x.T @ x / len(x)
    hessian[np.diag_indices_from(hessian)] += damping * hessian.diagonal().mean()
    return hessian


def obd_scores(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight by the output error that its removal alone would cause.

    Parameters
    ----------
    network : Sequential
        A trained network: its weights in `Linear` layers, those of a `Sequential` inside it too.
        Each layer runs forward once.
    x : ndarray, shape (N, in)
        Samples of all classes.

    Returns
    -------
    dict of str to ndarray
        ``½ H_qq w_q²`` without damping, by the names and in the shapes of ``network.params``;
        higher = keep. Biases are not scored.

    Raises
    ------
    TypeError
        If another kind of layer has weights, or `x` is not of their type.
    ValueError
        If `x` or a weight is not finite, or `x` is not a batch that fits.
    """
    return _costs(network, x, lambda received: output_hessian(received, damping=0.0).diagonal())


def obs_scores(
    network: Sequential, x: np.ndarray, *, damping: float = 0.01
) -> dict[str, np.ndarray]:
    """Score every weight by the output error that remains once the others made up for it.

    Parameters
    ----------
    network : Sequential
        As `obd_scores` takes it.
    x : ndarray, shape (N, in)
        Samples of all classes.
    damping : float, default 0.01
        γ, above 0 if an input is zero in all samples, or there are fewer samples than inputs.

    Returns
    -------
    dict of str to ndarray
        ``½ w_q² / [H⁻¹]_qq``, by the names and in the shapes of ``network.params``;
        higher = keep. Biases are not scored.

    Raises
    ------
    TypeError, ValueError
        As `obd_scores`; ValueError too if `damping` is out of range, or H is singular.
    """
    return _costs(network, x, lambda received: 1 / _inverse(received, damping).diagonal())


def remove_in_turn(
    w: np.ndarray, inverse: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Remove weights of one neuron, each time the cheapest, the others making up for it.

    Parameters
    ----------
    w : ndarray of float64, shape (in,)
        The neuron's weights; not changed.
    inverse : ndarray of float64, shape (in, in)
        H⁻¹; not changed.
    count : int
        How many to remove, 0 to in.

    Returns
    -------
    w : ndarray of float64, shape (in,)
        What is left of the weights, moved; zero where one went.
    order : ndarray of int, shape (count,)
        Which weights went, the first one first; among equally cheap ones the one that comes first.
    costs : ndarray of float64, shape (count,)
        By how much each removal raised ``½ δᵀ H δ``.

    Raises
    ------
    TypeError
        If `w` or `inverse` is not float64.
    ValueError
        If `inverse` does not fit `w`, or `count` is out of range.
    """
    if w.dtype != np.float64 or inverse.dtype != np.float64:
        raise TypeError(f"w and inverse must be float64, got {w.dtype} and {inverse.dtype}")
    if w.ndim != 1 or inverse.shape != 2 * w.shape:
        raise ValueError(f"inverse must be (in, in) for w (in,), got {inverse.shape} for {w.shape}")
    if not 0 <= count <= len(w):
        raise ValueError(f"count must be 0 to {len(w)}, got {count}")
    w, inverse = w.copy(), inverse.copy()
    gone = np.zeros(len(w), dtype=bool)
    order, costs = np.zeros(count, dtype=int), np.zeros(count)
    for step in range(count):
        cost = np.where(gone, np.inf, w**2 / (2 * inverse.diagonal()))
        q = cost.argmin()
        order[step], costs[step] = q, cost[q]
        pull = inverse[q] / inverse[q, q]
        w -= w[q] * pull
        inverse -= pull[:, None] * inverse[q]
        # In exact arithmetic these are zeros already; the one only keeps the division defined.
        gone[q], w[gone], inverse[q], inverse[:, q], inverse[q, q] = True, 0, 0, 0, 1
    return w, order, costs


def optimal_brain_surgeon(
    weight: np.ndarray, x: np.ndarray, sparsity: float, *, damping: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Prune a layer's weights, each time the cheapest of all, the others making up for it.

    A weight is made up for by its own neuron only, so each row has its own order of removal; where
    the next weight goes is decided among the rows.

    Parameters
    ----------
    weight : ndarray, shape (out, in)
        A layer's weights, floating point, finite; not changed.
    x : ndarray, shape (N, in)
        What the layer receives, of the same type.
    sparsity : float
        The share to remove, in [0, 1).
    damping : float, default 0.01
        γ, above 0 if an input is zero in all samples, or there are fewer samples than inputs.

    Returns
    -------
    weight : ndarray, shape (out, in)
        The weights after pruning, those that are left moved, in the type of `weight`.
    mask : ndarray of bool, shape (out, in)
        True at exactly ``kept(weight.size, sparsity)`` places, the others are zero.

    Raises
    ------
    TypeError
        If `weight` is not floating point, or `x` not of its type.
    ValueError
        If `weight` is not a finite matrix, `x` does not fit it or is not finite, `sparsity` or
        `damping` is out of range, or H is singular.
    """
    if not np.issubdtype(weight.dtype, np.floating):
        raise TypeError(f"weight must be floating point, got {weight.dtype}")
    if x.dtype != weight.dtype:
        raise TypeError(f"x must be {weight.dtype} like weight, got {x.dtype}")
    if weight.ndim != 2 or not np.isfinite(weight).all():
        raise ValueError(f"weight must be (out, in) and finite, got {weight.shape}")
    if x.shape[1:] != weight.shape[1:]:
        raise ValueError(f"x must be (N, {weight.shape[1]}) for weight, got {x.shape}")
    removed = weight.size - kept(weight.size, sparsity)
    inverse = _inverse(x, damping)
    rows, mask = weight.astype(np.float64), np.ones(weight.shape, dtype=bool)
    tried = [remove_in_turn(w, inverse, len(w)) for w in rows]
    # A cheap weight behind a dear one has to wait for it: its turn comes at the dearest so far.
    dearest = np.maximum.accumulate([costs for _, _, costs in tried], axis=1)
    turns = np.argsort(dearest, axis=None, kind="stable")[:removed]
    counts = np.bincount(turns // weight.shape[1], minlength=len(weight))
    for w, keep, (_, order, _), count in zip(rows, mask, tried, counts, strict=True):
        gone = order[:count]
        # All of them at once: what the removals in turn have come to.
        w -= np.linalg.solve(inverse[np.ix_(gone, gone)], w[gone]) @ inverse[gone]
        w[gone], keep[gone] = 0, False
    return rows.astype(weight.dtype), mask


def surgeon_network(
    network: Sequential, x: np.ndarray, sparsity: float, *, damping: float = 0.01
) -> Sequential:
    """Prune the layers of a network in turn, each with the inputs that the pruned ones hand it.

    Parameters
    ----------
    network : Sequential
        As `obd_scores` takes it; not changed.
    x : ndarray, shape (N, in)
        Samples of all classes.
    sparsity : float
        The share of each layer's weights to remove, in [0, 1).
    damping : float, default 0.01
        γ, above 0 if an input of a layer is zero in all samples, or there are fewer samples than
        inputs.

    Returns
    -------
    Sequential
        A CSR layer for each `Linear`, its biases as they were; copies of all other layers. It needs
        an optimiser of its own.

    Raises
    ------
    TypeError, ValueError
        As `obd_scores` and `optimal_brain_surgeon`.
    """
    pruned, masks = deepcopy(network), {}
    for name, layer in _layers(pruned):
        if "weight" in layer.params:
            weight = layer.params["weight"]
            weight[:], mask = optimal_brain_surgeon(weight, x, sparsity, damping=damping)
            masks[f"{name}.weight"] = mask
        x = layer.forward(x)
    return prune_network(pruned, masks)


def _costs(
    network: Sequential, x: np.ndarray, curvature: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    costs = {}
    for name, layer in _layers(network):
        received, x = x, layer.forward(x)
        if "weight" in layer.params:
            weight = layer.params["weight"]
            costs[f"{name}.weight"] = (weight**2 * curvature(received) / 2).astype(weight.dtype)
    return costs


def _layers(network: Sequential) -> list[tuple[str, Layer]]:
    layers = list(named_layers(network))
    for name, layer in layers:
        if "weight" in layer.params and not isinstance(layer, Linear):
            raise TypeError(f"network must hold weights in Linear, got {type(layer).__name__}")
        if not all(np.isfinite(theta).all() for theta in layer.params.values()):
            raise ValueError(f"network must have finite parameters, layer {name} has not")
    return layers


def _inverse(x: np.ndarray, damping: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(output_hessian(x, damping=damping))
    if values[0] <= len(values) * np.finfo(np.float64).eps * values[-1]:
        raise ValueError(f"damping must be larger: with {damping} the Hessian of x is singular")
    return (vectors / values) @ vectors.T
