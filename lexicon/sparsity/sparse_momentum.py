"""Sparse momentum moves connections from layer to layer, to where the weights still move most.

SET gives back to each layer as many connections as it took, so that a poor division among the
layers stays poor. Here all layers drop into one pool, and each receives in proportion to m, the
mean size of its own velocities:

    drop  in every layer l the nₗ = round(ζ · nnzₗ) smallest |w|, among equals the last
    mₗ = 1/nnzₗ Σ |v|, before anything is dropped
    grow  gₗ = mₗ / Σ m · Σ n, whole numbers, Σ g = Σ n, none above the free positions of l
    w = 0 and velocity = 0 at the new ones

What does not fit into a layer goes to the others, by the same rule. Within a layer new positions
are drawn at random. The original grows them where the velocity of *missing* weights is largest,
which needs a dense gradient at every step and a dense velocity: left out here, for that is the
memory that a sparse network is to save.

References
----------
Dettmers, T., Zettlemoyer, L. (2019). Sparse networks from scratch: faster training without losing
    performance. arXiv 1907.04840.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor, isfinite
from operator import index

import numpy as np

from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import exchange, movable, random_growth
from lexicon.training.momentum import Momentum

__all__ = ["mean_momentum", "redistributed", "rewire_by_momentum"]


def mean_momentum(network: Sequential, optimizer: Momentum) -> dict[str, float]:
    """Return how fast the connections of each CSR layer are moving, on average.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are looked at, those of a `Sequential` inside it too.
    optimizer : Momentum
        The optimiser of this network.

    Returns
    -------
    dict of str to float
        The mean ``|v|`` over the stored values of each weight, by its name, such as
        ``"0.weight"``; 0 for a layer without connections.

    Raises
    ------
    ValueError
        If there is no such layer, or a velocity is stale, NaN or infinite.
    """
    means = {}
    for name, layer in _sparse(network).items():
        velocity = optimizer.velocity[name]
        if len(velocity) != layer.weight.nnz:
            raise ValueError(f"velocity of {name} is stale: call follow when positions move")
        if not np.isfinite(velocity).all():
            raise ValueError(f"velocity of {name} must be finite")
        means[name] = float(np.abs(velocity).mean(dtype=np.float64)) if len(velocity) else 0.0
    return means


def redistributed(
    counts: Sequence[int], momenta: Sequence[float], room: Sequence[int]
) -> list[int]:
    """Divide what all layers dropped in proportion to their momenta, as far as there is room.

    Parameters
    ----------
    counts : sequence of int
        How many connections each layer dropped, 0 or above.
    momenta : sequence of float
        The mean momentum of each, 0 or above. Where it is 0 for all that still have room, what is
        left is divided in proportion to that room.
    room : sequence of int
        How many each can take, 0 or above; together at least as many as were dropped.

    Returns
    -------
    list of int
        How many each layer grows: the sum of `counts`, rounded by largest remainder.

    Raises
    ------
    TypeError
        If a count or a room is not an integer.
    ValueError
        If the three are not equally long, a number is out of range, or there is too little room.
    """
    if not len(counts) == len(momenta) == len(room):
        raise ValueError(
            "counts, momenta and room must be equally long, "
            f"got {len(counts)}, {len(momenta)} and {len(room)}"
        )
    counts, room = (
        [index(n) for n in counts],
        [index(n) for n in room],
    )  # Python's, which do not overflow
    if min([*counts, *room], default=0) < 0:
        raise ValueError(f"counts and room must be 0 or above, got {counts} and {room}")
    if not all(isfinite(m) and m >= 0 for m in momenta):
        raise ValueError(f"momenta must be finite and 0 or above, got {momenta}")
    if sum(counts) > sum(room):
        raise ValueError(f"room must be for {sum(counts)} connections, got {sum(room)}")
    grown, left = list(room), sum(counts)
    rest = list(range(len(room)))  # layers that are not full
    while True:  # each round fills a layer or ends
        share = {i: Fraction(float(momenta[i])) for i in rest}
        if not any(share.values()):
            share = {i: Fraction(room[i]) for i in rest}
        whole = sum(share.values()) or 1
        wanted = {i: left * share[i] / whole for i in rest}  # fractions: none is lost to rounding
        over = [i for i in rest if wanted[i] > room[i]]
        if not over:
            break
        left -= sum(room[i] for i in over)
        rest = [i for i in rest if i not in over]
    for i in rest:
        grown[i] = floor(wanted[i])
    missing = left - sum(grown[i] for i in rest)
    for i in sorted(rest, key=lambda i: grown[i] - wanted[i])[:missing]:
        grown[i] += 1
    return grown


def rewire_by_momentum(
    network: Sequential, optimizer: Momentum, *, fraction: float, rng: np.random.Generator
) -> None:
    """Drop in every CSR layer, grow where the momentum is, and let the velocities follow.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are rewired in place, those of a `Sequential` inside it too. Their
        sizes change, the total does not.
    optimizer : Momentum
        The optimiser of this network, after at least one step: told where each position went.
    fraction : float
        ζ, the share of its own connections that each layer drops, in [0, 1].
    rng : numpy.random.Generator
        Draws the new positions.

    Raises
    ------
    ValueError
        If there is no such layer, `fraction` is out of range or more than there is room for, a
        weight is NaN or infinite, or velocities are stale, not finite, or all 0; nothing is
        changed then.
    """
    layers = _sparse(network)
    for layer in layers.values():
        movable(layer, fraction)  # refuses what has no rank
    momenta = list(mean_momentum(network, optimizer).values())
    if not any(momenta):
        raise ValueError("optimizer must have taken a step: all velocities are 0")
    sizes = [layer.weight.shape[0] * layer.weight.shape[1] for layer in layers.values()]
    counts = [round(fraction * layer.weight.nnz) for layer in layers.values()]
    room = [size - a.weight.nnz for size, a in zip(sizes, layers.values(), strict=True)]
    growth = redistributed(counts, momenta, room)
    for (name, layer), size, count, grow in zip(layers.items(), sizes, counts, growth, strict=True):
        grown = random_growth(layer.positions, size, grow, rng=rng)
        optimizer.follow(name, exchange(layer, count, grown))


def _sparse(network: Sequential) -> dict[str, CSRLinear]:
    layers = {f"{n}.weight": a for n, a in named_layers(network) if isinstance(a, CSRLinear)}
    if not layers:
        raise ValueError("network must hold at least one CSRLinear")
    return layers
