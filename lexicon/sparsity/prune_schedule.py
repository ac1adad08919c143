"""A pruning schedule says how sparse a network should be at each step of its training.

Removing everything at once tears a hole that training may not mend. A schedule removes a little,
lets the rest adapt, and removes again. Between the steps t₀ and t₁, with p = (t - t₀) / (t₁ - t₀)
the part of the way that is done, the sparsity s rises from sᵢ to s_f, and then stays:

    one-shot    s = s_f                        all at one step
    linear      s = sᵢ + (s_f - sᵢ) p          as many at each step
    cubic       s = s_f + (sᵢ - s_f)(1 - p)³   many while there are many, few at the end
    cosine      s = s_f + (sᵢ - s_f)(1 + cos πp) / 2
    geometric   1 - s = (1 - sᵢ)¹⁻ᵖ (1 - s_f)ᵖ   at each step the same share of what is left

The last is iterative pruning in rounds. `prune_further` takes the weights out of a sparse network
between two steps of its training, so that memory and FLOPs fall with s. Which weights go is left
to a score.

References
----------
Zhu, M., Gupta, S. (2017). To prune, or not to prune: exploring the efficacy of pruning for model
    compression. arXiv 1710.01878.
Han, S., Pool, J., Tran, J., Dally, W. (2015). Learning both weights and connections for
    efficient neural networks. NeurIPS.
"""

from collections.abc import Mapping
from math import cos, pi

import numpy as np

from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import kept
from lexicon.training.gradient_descent import Optimizer

__all__ = ["cosine", "cubic", "geometric", "linear", "one_shot", "prune_further", "share_to_prune"]


def one_shot(step: int, *, at: int, final: float, initial: float = 0.0) -> float:
    """Return the sparsity when everything goes at one step.

    Parameters
    ----------
    step : int
        t, 0 or above.
    at : int
        The step from which on the sparsity is `final`.
    final : float
        s_f, in [initial, 1).
    initial : float, default 0.0
        sᵢ, the sparsity before, in [0, 1).

    Returns
    -------
    float
        `initial` before step `at`, `final` from there on.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not at >= 0:
        raise ValueError(f"at must be 0 or above, got {at}")
    return final if _progress(step, at, at, initial, final) else initial


def linear(step: int, *, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """Return the sparsity when each step removes as many weights.

    Parameters
    ----------
    step : int
        t, 0 or above.
    start : int
        t₀, the last step with the sparsity `initial`.
    end : int
        t₁, the first step with the sparsity `final`; where it is `start`, this is `one_shot`.
    final : float
        s_f, in [initial, 1).
    initial : float, default 0.0
        sᵢ, in [0, 1).

    Returns
    -------
    float
        Exactly `initial` up to `start`, exactly `final` from `end` on.

    Raises
    ------
    ValueError
        If a number is out of range, or `end` lies before `start`.
    """
    return _between(initial, final, _progress(step, start, end, initial, final))


def cubic(step: int, *, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """Return the sparsity when fewer and fewer weights go: fast at first, slow at the end.

    Parameters
    ----------
    step, start, end, final, initial : int, int, int, float, float
        As `linear` takes them.

    Returns
    -------
    float
        Exactly `initial` up to `start`, exactly `final` from `end` on.

    Raises
    ------
    ValueError
        As `linear`.
    """
    left = 1 - _progress(step, start, end, initial, final)
    return _between(initial, final, 1 - left**3)


def cosine(step: int, *, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """Return the sparsity when pruning begins and ends slowly.

    Parameters
    ----------
    step, start, end, final, initial : int, int, int, float, float
        As `linear` takes them.

    Returns
    -------
    float
        Exactly `initial` up to `start`, exactly `final` from `end` on.

    Raises
    ------
    ValueError
        As `linear`.
    """
    p = _progress(step, start, end, initial, final)
    return _between(initial, final, (1 - cos(pi * p)) / 2)


def geometric(step: int, *, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """Return the sparsity when each step removes the same share of what is left.

    Parameters
    ----------
    step, start, end, final, initial : int, int, int, float, float
        As `linear` takes them.

    Returns
    -------
    float
        Exactly `initial` up to `start`, exactly `final` from `end` on.

    Raises
    ------
    ValueError
        As `linear`.
    """
    p = _progress(step, start, end, initial, final)
    left = (1 - final) / (1 - initial)  # of what `initial` leaves, after the last step
    return _between(initial, final, (1 - left**p) / (1 - left) if left < 1 else p)


def share_to_prune(network: Sequential, sparsity: float) -> float:
    """Return which share of the stored weights has to go for a network to be that sparse.

    A score is given to what is stored, and so is the share that a choice such as `global_masks`
    takes; a schedule speaks of all positions.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are counted, those of a `Sequential` inside it too.
    sparsity : float
        Of these layers together, in [0, 1).

    Returns
    -------
    float
        In [0, 1): with it, exactly ``kept(all positions, sparsity)`` remain.

    Raises
    ------
    ValueError
        If there is no such layer, `sparsity` is out of range or leaves nothing, or the network
        is sparser already.
    """
    layers = [layer for _, layer in named_layers(network) if isinstance(layer, CSRLinear)]
    if not layers:
        raise ValueError("network must hold at least one CSRLinear")
    stored = sum(layer.weight.nnz for layer in layers)
    positions = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in layers)
    count = kept(positions, sparsity)
    if count > stored:
        raise ValueError(f"sparsity {sparsity} would keep {count} weights, network has {stored}")
    return 1 - count / stored


def prune_further(
    network: Sequential, optimizer: Optimizer, masks: Mapping[str, np.ndarray]
) -> None:
    """Remove stored weights from a sparse network, and let the optimiser's state follow.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are pruned in place, those of a `Sequential` inside it too.
    optimizer : Optimizer
        The optimiser of this network: told which weights stayed.
    masks : mapping of str to ndarray of bool, shape (nnz,) each
        What to keep of the stored weights, by their name in ``network.params``. A layer without
        a mask stays as it is.

    Raises
    ------
    KeyError
        If a mask names no weight of a `CSRLinear`; nothing is changed then.
    TypeError
        If a mask is not bool; nothing is changed then.
    ValueError
        If a mask is not shaped like the stored weights; nothing is changed then.
    """
    layers = {
        f"{name}.weight": layer
        for name, layer in named_layers(network)
        if isinstance(layer, CSRLinear)
    }
    for name, mask in masks.items():
        if name not in layers:
            raise KeyError(f"masks must name weights of CSR layers, got {name!r}")
        if mask.dtype != np.bool_:
            raise TypeError(f"masks must be bool, got {mask.dtype} for {name}")
        if mask.shape != (layers[name].weight.nnz,):
            raise ValueError(
                f"masks of {name} must be ({layers[name].weight.nnz},), got {mask.shape}"
            )
    for name, mask in masks.items():
        source = layers[name].reconnect(layers[name].positions[mask])
        optimizer.follow(name, source)


def _progress(step: int, start: int, end: int, initial: float, final: float) -> float:
    if not step >= 0:
        raise ValueError(f"step must be 0 or above, got {step}")
    if not 0 <= start <= end:
        raise ValueError(f"start must be 0 or above and not after end, got {start} and {end}")
    if not 0 <= initial <= final < 1:
        raise ValueError(f"sparsity must be 0 ≤ initial ≤ final < 1, got {initial} and {final}")
    if step >= end:
        return 1.0
    return (step - start) / (end - start) if step > start else 0.0


def _between(initial: float, final: float, share: float) -> float:
    # Two products and not initial + (final - initial) · share, which misses `final` by a rounding.
    return min(max(initial, initial * (1 - share) + final * share), final)
