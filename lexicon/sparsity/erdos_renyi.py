"""Erdős–Rényi sparsity gives a layer connections in proportion to its neurons, drawn at random.

At one density for all layers, the large layers get most and the small ones starve. Giving each
layer ε connections for every neuron it touches makes density fall with size:

    uniform       nₗ ∝ out · in
    Erdős–Rényi   nₗ = ε (out + in),      density ε (out + in) / (out · in)
    its kernel form (ERK)   nₗ ∝ out + in + height + width, for convolutions

ε is given, or follows from the total wanted. A layer whose share exceeds its size is full, and
of a given total the others divide the rest; whole numbers by largest remainder, so that the total
is exact. The positions are a uniform draw without replacement; a random graph's binomial count
is left out.

References
----------
Erdős, P., Rényi, A. (1959). On random graphs I. Publicationes Mathematicae 6.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
Evci, U., Gale, T., Menick, J., Castro, P., Elsen, E. (2020). Rigging the lottery: making all
    tickets winners. ICML.
"""

from collections.abc import Callable, Sequence
from math import ceil, inf, log1p, prod, sqrt

import numpy as np

__all__ = ["epsilon_counts", "erdos_renyi", "erdos_renyi_kernel", "sample_positions", "uniform"]


def uniform(shapes: Sequence[tuple[int, ...]], density: float) -> list[int]:
    """Give every layer the same density.

    Parameters
    ----------
    shapes : sequence of tuple of int
        The layers' weight shapes, (out, in) or (out, in, height, width).
    density : float
        The share of all weights that exist, in (0, 1].

    Returns
    -------
    list of int
        Connections for each layer; their sum is ``round(density · all weights)``. A small
        layer may get 0 at a very small density.

    Raises
    ------
    ValueError
        If `shapes` is empty, one has fewer than two numbers or one below 1, all together hold
        more than 2⁵³ weights, or `density` is out of range.
    """
    return _allocate(shapes, prod, density)


def erdos_renyi(shapes: Sequence[tuple[int, ...]], density: float) -> list[int]:
    """Give every layer connections in proportion to out + in (times its kernel's area).

    Parameters
    ----------
    shapes : sequence of tuple of int
        The layers' weight shapes, (out, in) or (out, in, height, width).
    density : float
        The share of all weights that exist, in (0, 1].

    Returns
    -------
    list of int
        Connections for each layer; their sum is ``round(density · all weights)``. A small
        layer may get 0 at a very small density.

    Raises
    ------
    ValueError
        If `shapes` is empty, one has fewer than two numbers or one below 1, all together hold
        more than 2⁵³ weights, or `density` is out of range.
    """
    return _allocate(shapes, _neurons, density)


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], density: float) -> list[int]:
    """Give every layer connections in proportion to the sum of all its dimensions.

    Parameters
    ----------
    shapes : sequence of tuple of int
        The layers' weight shapes, (out, in) or (out, in, height, width).
    density : float
        The share of all weights that exist, in (0, 1].

    Returns
    -------
    list of int
        Connections for each layer; their sum is ``round(density · all weights)``. A small
        layer may get 0 at a very small density.

    Raises
    ------
    ValueError
        If `shapes` is empty, one has fewer than two numbers or one below 1, all together hold
        more than 2⁵³ weights, or `density` is out of range.
    """
    return _allocate(shapes, sum, density)


def epsilon_counts(shapes: Sequence[tuple[int, ...]], epsilon: float) -> list[int]:
    """Give every layer ε connections for each of its inputs and outputs, and no more than fit.

    As `erdos_renyi`, with ε given instead of a total.

    Parameters
    ----------
    shapes : sequence of tuple of int
        The layers' weight shapes, (out, in) or (out, in, height, width).
    epsilon : float
        ε, above 0.

    Returns
    -------
    list of int
        Connections for each layer, ``min(round(ε (out + in)), all)``; times its kernel's area.

    Raises
    ------
    ValueError
        If `shapes` is as `erdos_renyi` refuses it, or `epsilon` is not above 0 and finite.
    """
    shapes = _checked(shapes)
    if not 0 < epsilon < inf:
        raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")
    return [min(round(epsilon * _neurons(shape)), prod(shape)) for shape in shapes]


def sample_positions(size: int, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draw distinct positions, every set of them equally likely.

    Parameters
    ----------
    size : int
        How many positions there are; up to 2⁶³ - 1, never listed unless most are drawn.
    count : int
        How many to draw, 0 to `size`.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    ndarray of int64, shape (count,)
        Ascending numbers in [0, size).

    Raises
    ------
    ValueError
        If `count` is out of range.
    """
    if not 0 <= count <= size:
        raise ValueError(f"count must be 0 to {size}, got {count}")
    if count > size // 2:  # drawing what stays out is faster, and cannot stall near full
        absent = sample_positions(size, size - count, rng=rng)
        return np.delete(np.arange(size, dtype=np.int64), absent)
    drawn = np.empty(0, np.int64)
    while len(drawn) < count:  # once, as a rule
        # So many draws give that many distinct values on average; and a few for bad luck.
        missing = (count - len(drawn)) / (size - len(drawn))
        repeats = 4 * sqrt(count * missing) + 8
        draws = ceil(repeats - size * log1p(-missing))
        more = np.concatenate([drawn, rng.integers(size, size=draws)])
        more.sort()
        drawn = more[np.append(True, more[1:] > more[:-1])]
    # The distinct values of independent draws are a uniform set of their size; so is any
    # subset of it that is chosen without looking.
    surplus = rng.choice(len(drawn), len(drawn) - count, replace=False, shuffle=False)
    return np.delete(drawn, surplus)


def _neurons(shape: tuple[int, ...]) -> int:
    return sum(shape[:2]) * prod(shape[2:])


def _checked(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    if not shapes or any(len(shape) < 2 or min(shape) < 1 for shape in shapes):
        raise ValueError(
            f"shapes must be one or more, (out, in, ...) of at least 1 each, got {list(shapes)}"
        )
    shapes = [tuple(int(n) for n in shape) for shape in shapes]  # Python's do not overflow
    if sum(prod(shape) for shape in shapes) > 2**53:  # a float would miscount
        raise ValueError(f"shapes must hold at most 2⁵³ weights in all, got {list(shapes)}")
    return shapes


def _allocate(
    shapes: Sequence[tuple[int, ...]], share_of: Callable[[tuple[int, ...]], int], density: float
) -> list[int]:
    shapes = _checked(shapes)
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], got {density}")
    sizes = np.array([prod(shape) for shape in shapes])
    total = round(density * int(sizes.sum()))
    share = np.array([float(share_of(shape)) for shape in shapes])
    full = np.zeros(len(sizes), dtype=bool)
    while True:  # each round fills a layer or ends
        epsilon = (total - sizes[full].sum()) / share[~full].sum() if not full.all() else 0.0
        wanted = np.where(full, sizes, epsilon * share)
        over = wanted > sizes
        if not over.any():
            break
        full |= over
    counts = np.floor(wanted).astype(np.int64)
    largest_remainder_first = np.argsort(counts - wanted, kind="stable")
    counts[largest_remainder_first[: total - counts.sum()]] += 1
    return [int(count) for count in counts]
