"""SynFlow prunes before training and without data, by how much could flow through each connection.

A path from an input to an output takes one weight of every layer, and carries the product of
their magnitudes. R adds up all paths: what a network of the magnitudes would return, without
biases, fed with ones.

    R = 1ᵀ |Wₗ| ⋯ |W₂| |W₁| 1        score sᵢ = |wᵢ| ∂R/∂|wᵢ| = what flows through weight i

What flows into a hidden neuron flows out of it, and every layer passes on all of R. So each
layer's scores sum to R, and where few weights are left each is worth more. Pruned in small rounds,
with new scores for each, no layer is emptied. The scores here are the shares sᵢ/R, which rank
alike and cannot overflow. Activations count as the identity, which ReLU is where nothing is
negative. Biases are not scored, and layers with branches are left out.

References
----------
Tanaka, H., Kunin, D., Yamins, D., Ganguli, S. (2020). Pruning neural networks without any data by
    iteratively conserving synaptic flow. NeurIPS.
Neyshabur, B., Salakhutdinov, R., Srebro, N. (2015). Path-SGD: path-normalized optimization in
    deep neural networks. NeurIPS.
"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, prunable_layers
from lexicon.sparsity.mask import kept

__all__ = ["synflow_masks", "synflow_scores"]

Arrays = dict[str, np.ndarray]
Matrices = dict[str, np.ndarray | csr_array]


def synflow_scores(network: Sequential) -> Arrays:
    """Score every weight of a network by its share of all that could flow.

    Parameters
    ----------
    network : Sequential
        Linear and CSR layers, those of a `Sequential` inside it too, and layers without weights;
        not changed.

    Returns
    -------
    dict of str to ndarray of float64
        ``|w| ∂R/∂|w| / R``, under the names and with the shapes of ``network.params``: each layer's
        sum to 1. All 0 where nothing can flow.

    Raises
    ------
    TypeError
        If another layer than `Linear` or `CSRLinear` has weights.
    ValueError
        If there are no weights, a parameter is not finite, or a layer does not fit the one before.
    """
    return _shares(_magnitudes(network)[0])


def synflow_masks(network: Sequential, sparsity: float, *, rounds: int = 100) -> Arrays:
    """Keep what carries most, in many rounds, each with scores of what the last one left.

    Parameters
    ----------
    network : Sequential
        As `synflow_scores` takes it; not changed.
    sparsity : float
        The share of all weights to remove, in [0, 1).
    rounds : int, default 100
        At least 1; each keeps the same share of what the last one left. None removes more than
        half of what flows, so that a few more may follow.

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(all weights, sparsity)``, in the shapes of ``network.params``; at
        least one path from an input to an output is left.

    Raises
    ------
    TypeError
        As `synflow_scores`.
    ValueError
        As `synflow_scores`, and if a number is out of range, nothing can flow, or fewer weights
        are to remain than there are layers.
    """
    matrices, values = _magnitudes(network)
    size = sum(value.size for value in values.values())
    count = kept(size, sparsity)
    if not isinstance(rounds, int | np.integer) or rounds < 1:
        raise ValueError(f"rounds must be a whole number of at least 1, got {rounds}")
    if count < len(values):
        raise ValueError(
            f"sparsity {sparsity} would leave {count} weights for {len(values)} layers"
        )
    masks = {name: np.ones(value.shape, dtype=bool) for name, value in values.items()}
    left, done = size, 0
    shares = _shares(matrices)
    if not any(share.any() for share in shares.values()):
        raise ValueError("network must have a path of weights that are not 0 from input to output")
    while left > count:
        done = min(done + 1, rounds)
        ranked = np.sort(np.concatenate([share[masks[name]] for name, share in shares.items()]))
        # Every layer carries all that flows: to remove half at the most leaves each the other half.
        harmless = int(np.searchsorted(np.cumsum(ranked), 0.5, side="right"))
        left = max(round(size * (count / size) ** (done / rounds)), left - harmless)
        # What is gone stays gone, even if a dead end that is left carries as little.
        alive = {name: np.where(masks[name], share, -1) for name, share in shares.items()}
        masks = global_masks(alive, 1 - left / size)
        for name, mask in masks.items():
            values[name][~mask] = 0
        shares = _shares(matrices)
    return masks


def _magnitudes(network: Sequential) -> tuple[Matrices, Arrays]:
    """Return each layer's |W| as a matrix and its numbers, of which the matrix is a view."""
    matrices: Matrices = {}
    values: Arrays = {}
    width = None
    for name, layer in prunable_layers(network).items():
        value = np.abs(layer.params["weight"], dtype=np.float64)
        # Each path takes one weight of a layer: its unit is a factor that all scores share.
        value /= value.max(initial=0) or 1
        matrix = value
        if isinstance(layer, CSRLinear):
            stored = layer.weight
            matrix = csr_array((value, stored.indices, stored.indptr), stored.shape)
        if width not in (None, matrix.shape[1]):
            raise ValueError(f"network must fit: {name} takes {matrix.shape[1]}, gets {width}")
        width = matrix.shape[0]
        matrices[name], values[name] = matrix, value
    if not values:
        raise ValueError("network must have weights, got none")
    return matrices, values


def _shares(matrices: Matrices) -> Arrays:
    flow: np.ndarray = np.ones(next(iter(matrices.values())).shape[1])
    arriving = {}
    for name, matrix in matrices.items():
        arriving[name] = flow
        flow = matrix @ flow
        flow /= flow.max() or 1
    onward: np.ndarray = np.ones(len(flow))
    shares = {}
    for name, matrix in reversed(matrices.items()):
        if isinstance(matrix, csr_array):
            leaving = np.repeat(onward, np.diff(matrix.indptr))
            share = matrix.data * leaving * arriving[name][matrix.indices]
        else:
            share = matrix * onward[:, None] * arriving[name]
        # The sum is R in this layer's units, which the two rescalings above have made its own.
        shares[name] = share / (share.sum() or 1)
        onward = matrix.T @ onward
        onward /= onward.max() or 1
    return dict(reversed(shares.items()))
