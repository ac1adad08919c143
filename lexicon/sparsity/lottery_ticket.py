"""A lottery ticket is a sparse part of an untrained network that learns as well as the whole.

Pruning finds out which connections a trained network needs. Would they have been enough from the
start? Iterative magnitude pruning looks for such a part. Each round trains, removes the share p of
what is left, and puts the survivors back to where they began:

    M₀ = 1,   w = train(Mᵣ ⊙ w₀),   Mᵣ₊₁ = Mᵣ where |w| is among the largest, else 0
    connections after r rounds: n (1 - p)ʳ, rounded at each

w₀ are first weights, or those after a few epochs (rewinding to epoch k). Three controls take a
ticket apart: the same positions with other first values, as many positions drawn at random with
their own first values, and the same positions with nothing but the signs of the first values.

References
----------
Frankle, J., Carbin, M. (2019). The lottery ticket hypothesis: finding sparse, trainable neural
    networks. ICLR.
Zhou, H., Lan, J., Liu, R., Yosinski, J. (2019). Deconstructing lottery tickets: zeros, signs, and
    the supermask. NeurIPS.
Frankle, J., Dziugaite, G., Roy, D., Carbin, M. (2020). Linear mode connectivity and the lottery
    ticket hypothesis. ICML.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np

from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.fine_tuning import earlier_values, rewind
from lexicon.sparsity.global_prune import (
    global_masks,
    prunable_layers,
    prune_network,
    random_scores,
)
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import top_k

__all__ = ["find_tickets", "reinitialised", "shuffled", "signs_only"]


def find_tickets(
    start: Sequential, train_once: Callable[[Sequential], object], *, share: float, rounds: int
) -> Iterator[Sequential]:
    """Prune round by round, and rewind the survivors to their first values each time.

    Parameters
    ----------
    start : Sequential
        The untrained network, or one that was trained for k epochs, to rewind to epoch k. Dense
        or sparse; not changed.
    train_once : callable
        Trains the network that it is given in place, from this start, with an optimiser of its
        own. Called once a round; what it returns is not looked at.
    share : float
        p, the share of the remaining weights that each round removes, all layers together, in
        [0, 1).
    rounds : int
        How many rounds, at least 1.

    Returns
    -------
    iterator of Sequential
        The ticket of each round, untrained: a `CSRLinear` for each layer with weights, holding
        the values that `start` has there. Each may be trained without disturbing the next.

    Raises
    ------
    TypeError
        If a layer with weights is neither `Linear` nor `CSRLinear`.
    ValueError
        If `share` or `rounds` is out of range, a parameter of `start` is not finite, or it has no
        weights; later, if training left a parameter that is not finite, or nothing is left.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be in [0, 1), got {share}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    if not prunable_layers(start):
        raise ValueError("start must have at least one layer with weights")
    return _rounds(deepcopy(start), train_once, share, rounds)


def _rounds(
    start: Sequential, train_once: Callable[[Sequential], object], share: float, rounds: int
) -> Iterator[Sequential]:
    ticket = start
    for _ in range(rounds):
        trained = deepcopy(ticket)
        train_once(trained)
        prunable_layers(trained)  # refuses what has diverged
        ticket = prune_network(trained, global_masks(magnitude_scores(trained), share))
        rewind(ticket, start)
        yield deepcopy(ticket)


def reinitialised(ticket: Sequential, fresh: Sequential) -> Sequential:
    """Give a ticket's connections the first values of another draw: the first control.

    Parameters
    ----------
    ticket : Sequential
        Not changed.
    fresh : Sequential
        A new untrained network of the same layers; not changed.

    Returns
    -------
    Sequential
        The ticket's positions with the values that `fresh` has there, biases included.

    Raises
    ------
    TypeError, ValueError
        As `earlier_values`, if the networks do not fit.
    """
    other = deepcopy(ticket)
    rewind(other, fresh)
    return other


def shuffled(ticket: Sequential, start: Sequential, *, rng: np.random.Generator) -> Sequential:
    """Draw as many connections in each layer at random, with their own first values.

    Parameters
    ----------
    ticket : Sequential
        Not changed; only its number of connections in each layer is used.
    start : Sequential
        What the ticket was found in; not changed.
    rng : numpy.random.Generator
        Draws the positions, among those that `start` stores.

    Returns
    -------
    Sequential
        A sparse network with the values of `start`, biases included.

    Raises
    ------
    TypeError, ValueError
        As `earlier_values`, if the networks do not fit.
    """
    earlier_values(ticket, start)
    masks = {
        name: top_k(scores.ravel(), ticket.params[name].size).reshape(scores.shape)
        for name, scores in random_scores(start, rng=rng).items()
    }
    return prune_network(start, masks)


def signs_only(ticket: Sequential, start: Sequential) -> Sequential:
    """Replace each first value of a ticket by its sign, times one size for the whole layer.

    Parameters
    ----------
    ticket : Sequential
        Untrained; not changed.
    start : Sequential
        What the ticket was found in; not changed. The size is the root mean square of all weights
        that its layer has.

    Returns
    -------
    Sequential
        The ticket's positions and signs; biases as they were.

    Raises
    ------
    TypeError, ValueError
        As `earlier_values`, if the networks do not fit.
    """
    earlier_values(ticket, start)
    other = deepcopy(ticket)
    for name in prunable_layers(other):
        size = np.sqrt(np.square(start.params[name], dtype=np.float64).mean())
        other.params[name][:] = np.sign(ticket.params[name]) * size
    return other
