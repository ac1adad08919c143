"""Sensitivity shows which layer can lose how much: prune one, leave the others whole, and look.

For each layer l and each sparsity s, a network of which only layer l has lost weights is evaluated,
which gives a curve for each layer. Two ways to read sparsities off the curves:

    tolerance   of each layer, the largest share before its curve falls under a level
    budget      so many weights in all, where they are cheapest: the least Σₗ dropₗ(sₗ)

The budget goes down the steepest savings first: a piece of a layer's curve costs
drop / (weights that it removes), and of each curve only its convex hull is used, so that the
pieces of a layer come in order. Both ways add up what layers cost alone; that errors compound when
all are pruned is left out, and so is measuring again after each step.

References
----------
Han, S., Pool, J., Tran, J., Dally, W. (2015). Learning both weights and connections for
    efficient neural networks. NeurIPS.
Li, H., Kadav, A., Durdanovic, I., Samet, H., Graf, H. (2017). Pruning filters for efficient
    convnets. ICLR.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import prune_network
from lexicon.sparsity.mask import kept, top_k

__all__ = ["budget_sparsities", "sensitivity", "sparsity_masks", "tolerated_sparsities"]

Scores = Mapping[str, np.ndarray]
Curves = Mapping[str, Sequence[float]]


def sensitivity(
    network: Sequential,
    scores: Scores,
    sparsities: Sequence[float],
    evaluate: Callable[[Sequential], float],
) -> dict[str, list[float]]:
    """Prune one layer at a time, the others whole, and evaluate each such network.

    Parameters
    ----------
    network : Sequential
        A trained network, as `prune_network` takes it; not changed.
    scores : mapping of str to ndarray
        What each weight is worth, by its name in ``network.params``, for the layers to look at.
    sparsities : sequence of float
        Shares of the layer's weights to remove, in [0, 1), each larger than the one before.
    evaluate : callable
        Takes a network, returns a finite number, higher = better: an accuracy, or minus a loss.

    Returns
    -------
    dict of str to list of float
        For each layer what `evaluate` said, a number for each of `sparsities`.

    Raises
    ------
    KeyError, TypeError
        As `prune_network`.
    ValueError
        If there are no scores, one is NaN, they do not fit the weights, `sparsities` is empty, out
        of order or out of range, a layer would keep nothing, or `evaluate` returns NaN or infinity.
    """
    _check_sparsities(sparsities)
    curves: dict[str, list[float]] = {name: [] for name in scores}
    for sparsity in sparsities:
        for name, mask in sparsity_masks(scores, dict.fromkeys(scores, sparsity)).items():
            value = float(evaluate(prune_network(network, {name: mask})))
            if not np.isfinite(value):
                raise ValueError(f"evaluate must be finite, got {value} for {name} at {sparsity}")
            curves[name].append(value)
    return curves


def tolerated_sparsities(
    curves: Curves, sparsities: Sequence[float], lowest: float
) -> dict[str, float]:
    """Find the largest share that each layer can lose alone before its curve falls too low.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        As `sensitivity` returns them.
    sparsities : sequence of float
        Where they were measured.
    lowest : float
        The level that a curve must not fall under.

    Returns
    -------
    dict of str to float
        One of `sparsities` for each layer: the last one before the curve first falls under the
        level. 0 if the first is too low already.

    Raises
    ------
    ValueError
        If `sparsities` is empty, out of order or out of range, a curve does not fit it or is not
        finite, there is none, or `lowest` is NaN.
    """
    _check_curves(curves, sparsities)
    if np.isnan(lowest):
        raise ValueError("lowest must not be NaN")
    found = {}
    for name, curve in curves.items():
        below = np.append(np.asarray(curve) < lowest, True)
        found[name] = float([0.0, *sparsities][int(below.argmax())])
    return found


def budget_sparsities(
    curves: Curves, sparsities: Sequence[float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
    """Share out a total sparsity so that the drops of the single layers add up to the least.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        As `sensitivity` returns them.
    sparsities : sequence of float
        Where they were measured, the first one 0.
    sizes : mapping of str to int
        How many weights each of these layers has.
    sparsity : float
        The share of all these weights to remove, in [0, 1).

    Returns
    -------
    dict of str to float
        A sparsity for each layer, none above the last of `sparsities`. Together they keep exactly
        ``kept(all weights, sparsity)``.

    Raises
    ------
    ValueError
        As `tolerated_sparsities`, and if the first of `sparsities` is not 0, `sizes` names other
        layers, or so much cannot go within the range that was measured.
    """
    _check_curves(curves, sparsities)
    if sparsities[0] != 0:
        raise ValueError(f"sparsities must start at 0, got {sparsities[0]}")
    if set(sizes) != set(curves):
        raise ValueError(f"sizes must be of the layers {[*curves]}, got {[*sizes]}")
    total = sum(sizes.values())
    rest = total - kept(total, sparsity)
    pieces = []
    for name, curve in curves.items():
        counts = [sizes[name] - kept(sizes[name], s) for s in sparsities]
        gone, first = np.unique(counts, return_index=True)
        drop = curve[0] - np.asarray(curve)[first]
        at = 0
        while at < len(gone) - 1:  # the convex hull: always on to where the slope is least
            slopes = (drop[at + 1 :] - drop[at]) / (gone[at + 1 :] - gone[at])
            far = at + 1 + int(slopes.argmin())
            pieces.append((slopes.min(), name, int(gone[far] - gone[at])))
            at = far
    if (most := sum(count for *_, count in pieces)) < rest:
        raise ValueError(
            f"sparsity {sparsity} removes {rest} weights, the curves end at {most}: measure further"
        )
    removed = dict.fromkeys(curves, 0)
    for _, name, count in sorted(pieces, key=lambda piece: piece[0]):
        removed[name] += min(count, rest)
        rest -= min(count, rest)
    return {name: gone / sizes[name] for name, gone in removed.items()}


def sparsity_masks(scores: Scores, sparsities: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Keep the best weights of each layer, at a sparsity of its own.

    Parameters
    ----------
    scores : mapping of str to ndarray
        What each weight is worth, by its name in ``network.params``; no NaN.
    sparsities : mapping of str to float
        The share of each of these layers to remove, in [0, 1).

    Returns
    -------
    dict of str to ndarray of bool
        True for exactly ``kept(size, sparsity)`` of each layer, ties by position.

    Raises
    ------
    ValueError
        If there are no scores, one is NaN, `sparsities` names other layers or one of them is out of
        range or leaves nothing.
    """
    if not scores or set(sparsities) != set(scores):
        raise ValueError(f"sparsities must be of the layers {[*scores]}, got {[*sparsities]}")
    return {
        name: top_k(score.ravel(), kept(score.size, sparsities[name])).reshape(score.shape)
        for name, score in scores.items()
    }


def _check_sparsities(sparsities: Sequence[float]) -> None:
    steps = np.diff([-np.inf, *sparsities])
    if (
        len(sparsities) == 0
        or not (steps > 0).all()
        or not 0 <= sparsities[0] <= sparsities[-1] < 1
    ):
        raise ValueError(f"sparsities must rise within [0, 1), got {[*sparsities]}")


def _check_curves(curves: Curves, sparsities: Sequence[float]) -> None:
    _check_sparsities(sparsities)
    if not curves:
        raise ValueError("curves must hold at least one layer")
    for name, curve in curves.items():
        if len(curve) != len(sparsities) or not np.isfinite(curve).all():
            raise ValueError(
                f"curves must have {len(sparsities)} finite numbers each, {name} has not"
            )
