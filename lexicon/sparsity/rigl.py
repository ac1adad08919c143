"""RigL rewires as SET does, but grows where the loss would fall fastest.

SET tries new connections at random. Whether one would help can be known beforehand: the gradient
of a missing weight is the product of what its two neurons say, and does not need the weight. So,
now and then, on one batch, in every layer:

    drop  the n = round(ζ · nnz) smallest |w|, among equals the last
    grow  the n largest |Σₙ dyₙᵢ xₙⱼ| among the positions that were empty before the drop
    w = 0 and velocity = 0 at the new ones
    ζ(t) = α/2 · (1 + cos(π t / T)) up to step T, then 0

The dense gradient is computed for that, some rows at a time, and never stored: of all rows so far
only the best n are kept. The paper lets a dropped position return at once, if its gradient is among
the largest; here it cannot, so that dropping is the same as in `rewiring`.

References
----------
Evci, U., Gale, T., Menick, J., Castro, P., Elsen, E. (2020). Rigging the lottery: making all
    tickets winners. ICML.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
"""

from math import cos, pi

import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, named_layers, trace_signals
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.rewiring import exchange, movable
from lexicon.training.gradient_descent import Optimizer

__all__ = ["cosine_fraction", "gradient_growth", "rewire_by_gradient", "rigl_flops"]

_BLOCK = 2**16  # so many numbers of the dense gradient at a time, or as many as are wanted


def gradient_growth(dy: np.ndarray, x: np.ndarray, occupied: np.ndarray, count: int) -> np.ndarray:
    """Find the free positions with the largest gradient, without storing the gradient.

    Parameters
    ----------
    dy : ndarray, shape (N, out)
        The gradient of the loss with respect to a layer's output, N at least 1.
    x : ndarray, shape (N, in)
        That layer's input, of the same type.
    occupied : ndarray of int64, shape (n,)
        The taken positions, ``row · in + column``, ascending.
    count : int
        How many to find, at most the number of free ones.

    Returns
    -------
    ndarray of int64, shape (count,)
        The free positions with the largest ``|dyᵀ x|``, among equals the first; ascending.

    Raises
    ------
    TypeError
        If `dy` and `x` are not of one floating type, or `occupied` is not int64.
    ValueError
        If the shapes do not fit, `occupied` is not ascending or leaves the layer, `count` is out
        of range, or the gradient is NaN or infinite somewhere.
    """
    if dy.dtype != x.dtype or not np.issubdtype(dy.dtype, np.floating):
        raise TypeError(f"dy and x must be of one floating type, got {dy.dtype} and {x.dtype}")
    if dy.ndim != 2 or x.ndim != 2 or len(dy) != len(x) or len(dy) == 0:
        raise ValueError(f"dy and x must be (N ≥ 1, out) and (N, in), got {dy.shape} and {x.shape}")
    n_out, n_in = dy.shape[1], x.shape[1]
    if occupied.dtype != np.int64:
        raise TypeError(f"occupied must be int64, got {occupied.dtype}")
    taken = np.concatenate([[-1], occupied, [n_out * n_in]])
    if not (taken[1:] > taken[:-1]).all():
        raise ValueError(f"occupied must be strictly ascending numbers in [0, {n_out * n_in})")
    free = n_out * n_in - len(occupied)
    if not 0 <= count <= free:
        raise ValueError(f"count must be 0 to {free}, got {count}")
    best, at = np.empty(0, dy.dtype), np.empty(0, np.int64)
    rows = max(max(_BLOCK, count) // max(n_in, 1), 1)
    for start in range(0, n_out if count else 0, rows):
        with np.errstate(over="ignore", invalid="ignore"):  # refused in the next line
            size = np.abs(dy[:, start : start + rows].T @ x).ravel()
        if not np.isfinite(size).all():
            raise ValueError("dy and x must have a finite gradient: NaN and infinity have no rank")
        first = start * n_in
        here = slice(*np.searchsorted(occupied, [first, first + len(size)]))
        size[occupied[here] - first] = -1  # below every free one
        # Later rows lose a tie, so only what is above the last of the best so far can join them.
        bar = best.min() if len(best) == count else -1
        better = np.flatnonzero(size > bar)
        best, at = np.append(best, size[better]), np.append(at, first + better)
        if len(best) > count:
            chosen = top_k(best, count)
            best, at = best[chosen], at[chosen]
    return at


def rewire_by_gradient(
    network: Sequential,
    optimizer: Optimizer,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    fraction: float,
) -> None:
    """Rewire every CSR layer by the gradient on one batch, and let the optimiser's state follow.

    Parameters
    ----------
    network : Sequential
        Returns logits (N, classes). Its `CSRLinear` layers are rewired in place, those of a
        `Sequential` inside it too; all gradients are those before the rewiring.
    optimizer : Optimizer
        The optimiser of this network: told where each position went.
    x : ndarray, shape (N, in)
        One batch; a small one gives a noisy choice.
    labels : ndarray of int, shape (N,)
        Their classes.
    fraction : float
        ζ, the share to move, in [0, 1]; where fewer positions are free, as many as are.

    Raises
    ------
    TypeError, ValueError
        As the layers and `CrossEntropy` refuse a batch; no connection is changed then.
    ValueError
        If there is no such layer, `fraction` is out of range, or a weight or gradient is NaN or
        infinite; no connection is changed then.
    """
    layers = {f"{n}.weight": a for n, a in named_layers(network) if isinstance(a, CSRLinear)}
    if not layers:
        raise ValueError("network must hold at least one CSRLinear")
    counts = {name: movable(layer, fraction) for name, layer in layers.items()}
    criterion = CrossEntropy()

    def gradient(logits: np.ndarray) -> np.ndarray:
        criterion.forward(logits, labels)
        return criterion.backward()

    signals = trace_signals(network, x, gradient)
    grown = {
        name: gradient_growth(signals[name].dy, signals[name].x, layer.positions, counts[name])
        for name, layer in layers.items()
    }
    for name, layer in layers.items():
        optimizer.follow(name, exchange(layer, counts[name], grown[name]))


def cosine_fraction(step: int, *, end: int, initial: float) -> float:
    """Return the share to move at a step: less and less, and nothing from `end` on.

    Parameters
    ----------
    step : int
        t, 0 or above, in steps, epochs or whatever `end` counts.
    end : int
        T, at least 1: from then on connections stay, so that the last ones have time to learn.
    initial : float
        α, the share at step 0, in [0, 1].

    Returns
    -------
    float
        ``initial / 2 · (1 + cos(π · step / end))``; exactly 0 from `end` on.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not step >= 0:
        raise ValueError(f"step must be 0 or above, got {step}")
    if not end >= 1:
        raise ValueError(f"end must be at least 1, got {end}")
    if not 0 <= initial <= 1:
        raise ValueError(f"initial must be in [0, 1], got {initial}")
    return initial / 2 * (1 + cos(pi * step / end)) if step < end else 0.0


def rigl_flops(sparse: float, dense: float, *, interval: int) -> float:
    """Return the mean FLOPs of a step: ``(3 f_S ΔT + 2 f_S + f_D) / (ΔT + 1)``.

    Parameters
    ----------
    sparse : float
        f_S, the FLOPs of a forward pass of the sparse network; backward takes twice as many.
    dense : float
        f_D, those of a dense network of its size, at least `sparse`.
    interval : int
        ΔT, the steps of training between two rewirings, 0 or above.

    Returns
    -------
    float
        For comparison, training alone takes ``3 f_S``, dense training ``3 f_D``.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not 0 <= sparse <= dense < np.inf:
        raise ValueError(f"FLOPs must be 0 ≤ sparse ≤ dense, finite, got {sparse} and {dense}")
    if not interval >= 0:
        raise ValueError(f"interval must be 0 or above, got {interval}")
    return (3 * sparse * interval + 2 * sparse + dense) / (interval + 1)
