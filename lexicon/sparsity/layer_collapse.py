"""A layer collapses when pruning takes its last weight: nothing passes, and no training repairs it.

A layer without weights returns its bias for every sample and sends back a gradient of zero:

    W = 0:   y = b        dx = dy W = 0        and no stored weight to have a gradient

The layers before it stand still, those after it see one and the same input: the logits are
constant. Under one threshold for all layers, a layer lives exactly as long as its best weight:

    critical count   the rank of a layer's best weight, for the layer where that rank is worst
    guard            the best few of every layer first, then the best of all the others

A network can be cut where no layer is empty, too: a connection counts only if it lies on a path
from an input to an output (`connected`). A guard of paths instead of layers is left out.

References
----------
Tanaka, H., Kunin, D., Yamins, D., Ganguli, S. (2020). Pruning neural networks without any data by
    iteratively conserving synaptic flow. NeurIPS.
Vysogorets, A., Kempe, J. (2023). Connectivity matters: neural network pruning through the lens of
    effective sparsity. Journal of Machine Learning Research 24.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from lexicon.sparsity.global_prune import global_masks
from lexicon.sparsity.mask import kept, top_k

__all__ = ["collapsed_layers", "connected", "critical_count", "guarded_masks"]

Scores = Mapping[str, np.ndarray]
Masks = dict[str, np.ndarray]


def collapsed_layers(masks: Mapping[str, np.ndarray]) -> list[str]:
    """Name the layers that keep no weight.

    Parameters
    ----------
    masks : mapping of str to ndarray of bool
        What is kept, by the weight's name in ``network.params``.

    Returns
    -------
    list of str
        Their names, in the order of `masks`; empty if every layer keeps something.

    Raises
    ------
    TypeError
        If a mask is not bool.
    ValueError
        If there are no masks.
    """
    _check_masks(masks)
    return [name for name, mask in masks.items() if not mask.any()]


def critical_count(scores: Scores) -> int:
    """Return the fewest weights that one threshold can keep and leave no layer empty.

    Parameters
    ----------
    scores : mapping of str to ndarray
        What each weight is worth, as `global_masks` takes it.

    Returns
    -------
    int
        The rank, from 1, of a layer's best weight, for the layer where that is worst. At least
        the number of layers.

    Raises
    ------
    ValueError
        If there are no scores, a layer has none, or one is NaN.
    """
    _check_scores(scores)
    together = np.concatenate([score.ravel() for score in scores.values()])
    layer = np.repeat(np.arange(len(scores)), [score.size for score in scores.values()])
    # Backwards, and not by -together: the negative of an unsigned number is none.
    ranked = layer[::-1][np.argsort(together[::-1], kind="stable")[::-1]]
    _, first = np.unique(ranked, return_index=True)
    return int(first.max()) + 1


def guarded_masks(scores: Scores, sparsity: float, *, least: int = 1) -> Masks:
    """Keep the best few weights of each layer, then the best of all layers together.

    Parameters
    ----------
    scores : mapping of str to ndarray
        What each weight is worth, as `global_masks` takes it; none plus infinity.
    sparsity : float
        The share of all weights to remove, in [0, 1).
    least : int, default 1
        How many each layer keeps whatever their rank, 1 to the size of the smallest layer.

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(all weights, sparsity)``, in the scores' shapes; the same as
        `global_masks` wherever that leaves each layer `least`.

    Raises
    ------
    ValueError
        As `critical_count`; if a score is plus infinity, `sparsity` or `least` is out of range, or
        the guard needs more weights than are kept.
    """
    _check_scores(scores)
    if any(np.isposinf(score).any() for score in scores.values()):
        raise ValueError("scores must not hold infinity: it is the rank of the guarded")
    sizes = [score.size for score in scores.values()]
    if not 1 <= least <= min(sizes):
        raise ValueError(f"least must be 1 to {min(sizes)}, the smallest layer, got {least}")
    if (count := kept(sum(sizes), sparsity)) < least * len(sizes):
        raise ValueError(
            f"sparsity {sparsity} keeps {count} weights, too few for {least} in each of "
            f"{len(sizes)} layers"
        )
    raised = {}
    for name, score in scores.items():
        best = top_k(score.ravel(), least).reshape(score.shape)
        raised[name] = np.where(best, np.inf, score)
    return global_masks(raised, sparsity)


def connected(masks: Mapping[str, np.ndarray]) -> Masks:
    """Keep only the connections that lie on a path from an input to an output.

    Parameters
    ----------
    masks : mapping of str to ndarray of bool, shape (out, in) each
        Layers in a row, in the order of the data: the outputs of one are the inputs of the next.

    Returns
    -------
    dict of str to ndarray of bool
        The same without dead ends. Either every layer keeps something or none does.

    Raises
    ------
    TypeError
        If a mask is not bool.
    ValueError
        If there are no masks, one is not a matrix, or does not fit the one before it.
    """
    _check_masks(masks)
    for name, mask in masks.items():
        if mask.ndim != 2:
            raise ValueError(f"masks of {name} must be (out, in), got {mask.shape}")
    names = [*masks]
    for before, name in pairwise(names):
        if masks[name].shape[1] != len(masks[before]):
            raise ValueError(
                f"masks of {name} must have the {len(masks[before])} outputs of {before} as "
                f"inputs, got {masks[name].shape[1]}"
            )
    paths = {name: mask.copy() for name, mask in masks.items()}
    for before, name in pairwise(names):
        paths[name] &= paths[before].any(axis=1)  # its input hears something
    for after, name in pairwise(reversed(names)):
        paths[name] &= paths[after].any(axis=0, keepdims=True).T  # its output is heard
    return paths


def _check_scores(scores: Scores) -> None:
    if not scores or not all(score.size for score in scores.values()):
        raise ValueError("scores must hold at least one layer, and each layer at least one score")
    for name, score in scores.items():
        if np.isnan(score).any():
            raise ValueError(f"scores of {name} must not hold NaN: it has no rank")


def _check_masks(masks: Mapping[str, np.ndarray]) -> None:
    if not masks:
        raise ValueError("masks must hold at least one layer")
    for name, mask in masks.items():
        if mask.dtype != np.bool_:
            raise TypeError(f"masks must be bool, got {mask.dtype} for {name}")
