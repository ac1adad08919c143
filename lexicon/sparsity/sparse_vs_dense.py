"""Sparse versus dense is a fair question only at an equal budget: weights, FLOPs or seconds.

The costs of a network do not fall together. With nnz of out · in weights stored, the FLOPs of one
sample in one training step are

    dense, or masked:   y: 2·out·in    dx: 2·out·in    dW: 2·out·in
    CSR:                y: 2·nnz       dx: 2·nnz       dW: 2·nnz gathered, 2·out·in blocked

and a float32 connection takes 8 bytes where a dense weight takes 4. If a sparse FLOP takes as long
as r dense ones, the sparse product is faster below the density 1/r: `crossover` reads that point
off measurements. Accuracies are compared seed by seed: the mean of the differences, with the
margin that their spread leaves (Student's t).

Measuring seconds, and FLOPs of biases, activations and the optimiser, are left out.

References
----------
Student (1908). The probable error of a mean. Biometrika 6(1).
Williams, S., Waterman, A., Patterson, D. (2009). Roofline: an insightful visual performance model
    for multicore architectures. Communications of the ACM 52(4).
Blalock, D., Gonzalez Ortiz, J., Frankle, J., Guttag, J. (2020). What is the state of neural
    network pruning? MLSys.
Bouthillier, X., et al. (2021). Accounting for variance in machine learning benchmarks. MLSys.
"""

from collections.abc import Sequence
from math import isqrt
from operator import index
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sampled_gradient import blocked, fastest

__all__ = ["Cost", "crossover", "dense_width", "network_cost", "paired_difference"]


class Cost(NamedTuple):
    """What a network takes.

    Parameters
    ----------
    connections : int
        Weights that exist.
    weight_bytes : int
        Weights, biases, indices and masks.
    forward_flops : int
        Multiplications and additions of one sample's forward products.
    step_flops : int
        The same for one sample of a training step: y, dx and dW, of the first layer too.
    """

    connections: int
    weight_bytes: int
    forward_flops: int
    step_flops: int


def network_cost(network: Layer) -> Cost:
    """Count what a network takes, from the arrays that it really holds.

    Parameters
    ----------
    network : Layer
        A Linear, MaskedLinear, CSRLinear, a layer without parameters, or a Sequential of these.

    Returns
    -------
    Cost
        Connections, bytes and FLOPs.

    Raises
    ------
    TypeError
        If a layer is of another kind and has parameters: its FLOPs are not known.
    """
    if isinstance(network, Sequential):
        counts = zip(*(network_cost(layer) for layer in network.layers), strict=True)
        return Cost(*map(sum, counts))
    held = sum(theta.nbytes for theta in network.params.values())
    if isinstance(network, CSRLinear):
        weight = network.weight
        held += weight.indices.nbytes + weight.indptr.nbytes
        in_full = fastest(weight.shape, weight.indptr) is blocked
        gradient = weight.shape[0] * weight.shape[1] if in_full else weight.nnz
        return Cost(weight.nnz, held, 2 * weight.nnz, 2 * (2 * weight.nnz + gradient))
    if isinstance(network, MaskedLinear):
        mask = network.mask
        return Cost(int(mask.sum()), held + mask.nbytes, 2 * mask.size, 6 * mask.size)
    if isinstance(network, Linear):
        size = network.params["weight"].size
        return Cost(size, held, 2 * size, 6 * size)
    if network.params:
        raise TypeError(f"network must hold known layers, got {type(network).__name__}")
    return Cost(0, 0, 0, 0)


def dense_width(sizes: Sequence[int], budget: int) -> tuple[int, int]:
    """Find the dense network of the same depth that a budget of weights can pay.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, and of the output; only the first, the last and
        their number count.
    budget : int
        How many weights there may be. One sample takes 2 FLOPs a weight forward and 6 in a step,
        so a budget of FLOPs is one of weights.

    Returns
    -------
    width : int
        The largest width of all hidden layers that keeps within the budget.
    left_over : int
        How many weights of the budget stay unspent; one neuron more a layer would need more.

    Raises
    ------
    TypeError
        If a size or `budget` is not an integer.
    ValueError
        If there is no hidden layer, a size is below 1, or `budget` does not pay for one neuron in
        each.
    """
    sizes, budget = [index(size) for size in sizes], index(budget)
    if len(sizes) < 3 or min(sizes) < 1:
        raise ValueError(f"sizes must be three or more, of at least 1 each, got {sizes}")
    # squares · width² + ends · width weights, solved in whole numbers: a root would be rounded.
    squares, ends = len(sizes) - 3, sizes[0] + sizes[-1]
    if budget < squares + ends:
        raise ValueError(f"budget must be at least {squares + ends}, got {budget}")
    if squares:
        width = (isqrt(ends**2 + 4 * squares * budget) - ends) // (2 * squares)
    else:
        width = budget // ends
    return width, budget - squares * width**2 - ends * width


def crossover(sparsities: Sequence[float], ratios: Sequence[float]) -> float | None:
    """Find the sparsity from which on the sparse network costs less than the dense one.

    A cost of so much for each connection, and a fixed rest, is a straight line in sparsity: so one
    joins the two measurements around the crossing.

    Parameters
    ----------
    sparsities : sequence of float
        Where it was measured, ascending, in [0, 1).
    ratios : sequence of float
        The cost of the sparse network over that of the dense one, of any kind, above 0.

    Returns
    -------
    float or None
        The sparsity at which the ratio falls below 1 for the last time; None if it ends at 1 or
        above, or is below 1 throughout.

    Raises
    ------
    ValueError
        If there are no measurements or not equally many of both, sparsities are out of range or
        not ascending, or a ratio is not a finite number above 0.
    """
    s, r = np.asarray(sparsities, float), np.asarray(ratios, float)
    if s.ndim != 1 or len(s) == 0 or not ((s >= 0) & (s < 1)).all() or (np.diff(s) <= 0).any():
        raise ValueError(f"sparsities must ascend within [0, 1), at least one, got {sparsities}")
    if r.shape != s.shape or not (np.isfinite(r) & (r > 0)).all():
        raise ValueError(f"ratios must be {len(s)} finite numbers above 0, got {ratios}")
    dearer = np.flatnonzero(r >= 1)
    if len(dearer) == 0 or dearer[-1] == len(s) - 1:
        return None
    last = dearer[-1]
    share = (r[last] - 1) / (r[last] - r[last + 1])
    return float(s[last] + share * (s[last + 1] - s[last]))


def paired_difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Compare two methods seed by seed: the mean of a - b and its 95 % margin.

    Parameters
    ----------
    a, b : sequence of float, equally long, at least 2
        What each method scored; entries at one place share data, split and seed.

    Returns
    -------
    mean : float
        How far a is ahead.
    margin : float
        Half the width of the 95 % confidence interval by Student's t: if it exceeds ``abs(mean)``,
        the seeds do not tell which method is better.

    Raises
    ------
    ValueError
        If there are fewer than two pairs, not equally many of both, or a score is not finite.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(f"a and b must be (n ≥ 2,) both, got {first.shape} and {second.shape}")
    if not np.isfinite([first, second]).all():
        raise ValueError(f"a and b must be finite, got {a} and {b}")
    difference = first - second
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(stdtrit(len(difference) - 1, 0.975) * error)
