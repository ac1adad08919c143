"""Rewiring moves connections while training: the weakest go, as many new ones come.

A random sparse pattern is fixed before a single sample was seen. Sparse evolutionary training
(SET) lets data correct it: now and then, drop the share ζ of connections with the smallest
|w|, and grow as many at random free positions:

    drop  the n = round(ζ · nnz) smallest |w|, among equals the last
    grow  n positions, uniform among those that were empty before the drop
    w = 0 and velocity = 0 at the new ones

The number of connections never changes, nothing dropped returns at once, and the function
computed changes only by what was dropped. What SET does otherwise is left out: separate
thresholds for positive and negative weights, random first values for the new ones, and growth
where something was just dropped. Another growth score makes another method (RigL: the gradient's).

References
----------
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
Bellec, G., Kappel, D., Maass, W., Legenstein, R. (2018). Deep rewiring: training very sparse
    deep networks. ICLR.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import sample_positions
from lexicon.sparsity.mask import top_k
from lexicon.training.gradient_descent import Optimizer

__all__ = ["exchange", "movable", "random_growth", "rewire", "rewire_network"]


def random_growth(
    occupied: np.ndarray, size: int, count: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Draw free positions without listing them.

    The r-th free position is r plus the number of occupied ones before it, and a binary search
    finds that number: no position is ever tried twice, even when almost all are taken.

    Parameters
    ----------
    occupied : ndarray of int64, shape (n,)
        The taken positions, ascending.
    size : int
        How many positions there are.
    count : int
        How many to draw, at most the number of free ones.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    ndarray of int64, shape (count,)
        Free positions, ascending.

    Raises
    ------
    TypeError
        If `occupied` is not int64.
    ValueError
        If `occupied` is not ascending or leaves the range, or `count` exceeds the free positions.
    """
    if occupied.dtype != np.int64:
        raise TypeError(f"occupied must be int64, got {occupied.dtype}")
    taken = np.concatenate([[-1], occupied, [size]])
    if not (taken[1:] > taken[:-1]).all():
        raise ValueError(f"occupied must be strictly ascending numbers in [0, {size})")
    rank = sample_positions(size - len(occupied), count, rng=rng)
    free_before = occupied - np.arange(len(occupied))
    return rank + np.searchsorted(free_before, rank, side="right")


def rewire(layer: CSRLinear, *, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Drop a layer's weakest connections and grow as many elsewhere.

    Parameters
    ----------
    layer : CSRLinear
        Rewired in place; its gradients are forgotten.
    fraction : float
        ζ, the share to move, in [0, 1]; where fewer positions are free, as many as are.
    rng : numpy.random.Generator
        Draws the new positions.

    Returns
    -------
    ndarray of int64, shape (nnz,)
        For every position now, the old one that it continues, or -1 for the new ones.

    Raises
    ------
    ValueError
        If `fraction` is out of range, or a weight is NaN or infinite; nothing is changed then.
    """
    count = movable(layer, fraction)
    n_out, n_in = layer.weight.shape
    return exchange(layer, count, random_growth(layer.positions, n_out * n_in, count, rng=rng))


def movable(layer: CSRLinear, fraction: float) -> int:
    """Return how many connections a share of them is: no more than there are free positions.

    Parameters
    ----------
    layer : CSRLinear
        The layer.
    fraction : float
        ζ, in [0, 1].

    Returns
    -------
    int
        ``round(fraction · nnz)``, or the free positions where they are fewer.

    Raises
    ------
    ValueError
        If `fraction` is out of range, or a weight is NaN or infinite: they have no rank.
    """
    _check(layer)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
    n_out, n_in = layer.weight.shape
    return min(round(fraction * layer.weight.nnz), n_out * n_in - layer.weight.nnz)


def exchange(layer: CSRLinear, count: int, grown: np.ndarray) -> np.ndarray:
    """Drop a layer's weakest connections, and connect other positions instead.

    What every rewiring does, however it chooses where to grow.

    Parameters
    ----------
    layer : CSRLinear
        Changed in place; its gradients are forgotten.
    count : int
        How many of the smallest ``|w|`` to drop, 0 to nnz; among equals the last.
    grown : ndarray of int64, shape (m,)
        Free positions, ascending; they begin at 0.

    Returns
    -------
    ndarray of int64, shape (nnz - count + m,)
        For every position now, the old one that it continues, or -1 for the new ones.

    Raises
    ------
    TypeError
        If `grown` is not int64; nothing is changed then.
    ValueError
        If `count` is out of range, a weight is NaN or infinite, or `grown` is not ascending, or
        holds a position that is taken or outside of the layer; nothing is changed then.
    """
    _check(layer)
    if grown.dtype != np.int64:
        raise TypeError(f"grown must be int64, got {grown.dtype}")
    if (grown[1:] <= grown[:-1]).any():  # the sort below would hide it
        raise ValueError("grown must be strictly ascending")
    old = layer.positions
    if not 0 <= count <= len(old):
        raise ValueError(f"count must be 0 to {len(old)}, got {count}")
    surviving = old[:0]
    if count < len(old):
        surviving = old[top_k(np.abs(layer.weight.data), len(old) - count)]
    if (np.append(old, -1)[np.searchsorted(old, grown)] == grown).any():
        raise ValueError("grown must hold free positions only")
    # Two ascending runs, which a stable sort merges in linear time.
    return layer.reconnect(np.sort(np.concatenate([surviving, grown]), kind="stable"))


def rewire_network(
    network: Sequential,
    optimizer: Optimizer,
    *,
    fraction: float,
    rng: np.random.Generator,
) -> None:
    """Rewire every CSR layer, and let the optimiser's state follow.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are rewired in place, those of a `Sequential` inside it too.
    optimizer : Optimizer
        The optimiser of this network: told where each position went.
    fraction : float
        ζ, the share to move, in [0, 1].
    rng : numpy.random.Generator
        Draws the new positions.

    Raises
    ------
    ValueError
        If there is no such layer, `fraction` is out of range, or a weight is NaN or infinite;
        nothing is changed then.
    """
    layers = [(name, a) for name, a in named_layers(network) if isinstance(a, CSRLinear)]
    if not layers:
        raise ValueError("network must hold at least one CSRLinear")
    for _, layer in layers:
        movable(layer, fraction)
    for name, layer in layers:
        optimizer.follow(f"{name}.weight", rewire(layer, fraction=fraction, rng=rng))


def _check(layer: CSRLinear) -> None:
    if not np.isfinite(layer.weight.data).all():
        raise ValueError("layer must have finite weights: NaN and infinity have no rank")
