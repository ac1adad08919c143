"""Weight averaging keeps, beside a network in training, one whose weights are the mean of its path.

With a constant rate the weights never settle: the noise of the batches keeps them jittering around
a minimum. Each point of that path is off by chance, so their mean is off by less. The mean is kept
in place, one copy of the weights however many went into it:

    a ← a + share · (θ - a)
    stochastic weight averaging (SWA):    share = 1 / t                    every point the same
    exponential moving average (EMA):     share = (1 - β) / (1 - βᵗ)       old points fade by β

with t the number of updates so far. The first share is 1, so the weights from before the first
update count nothing: that is the bias correction. With β → 1 EMA becomes the plain mean. Only
parameters are averaged: running statistics of normalisation layers stay as they were copied.

References
----------
Polyak, B., Juditsky, A. (1992). Acceleration of stochastic approximation by averaging. SIAM
    Journal on Control and Optimization 30(4).
Izmailov, P., Podoprikhin, D., Garipov, T., Vetrov, D., Wilson, A. (2018). Averaging weights leads
    to wider optima and better generalization. UAI.
"""

from copy import deepcopy
from typing import Protocol, TypeGuard

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers

__all__ = ["ExponentialMovingAverage", "StochasticWeightAveraging"]


class _Rewirable(Protocol):
    @property
    def weight(self) -> csr_array: ...

    @property
    def positions(self) -> np.ndarray: ...

    def reconnect(self, positions: np.ndarray) -> np.ndarray: ...


class StochasticWeightAveraging:
    """Keep the plain mean of a network's parameters, one point of the path per `update`.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`; only read, whoever trains it.

    Attributes
    ----------
    average : Layer
        A copy of the network whose parameters, changed in place, are the average; before the
        first `update` those that the network had.
    updates : int
        How many points are in it.
    """

    def __init__(self, network: Layer) -> None:
        self.network = network
        self.average = deepcopy(network)
        self.updates = 0

    def update(self) -> None:
        """Take the parameters of now into the average.

        A layer that was rewired is followed: what stays keeps its average, and a connection that
        comes counts as 0 for all the time before. One that left and comes back is such a one too:
        the average has only the connections of now, and what left it is forgotten.

        Raises
        ------
        RuntimeError
            If the network has other layers, shapes or types than when it was copied, rewired
            connections apart; nothing is changed then.
        """
        theirs, mine = _layers(self.network), _layers(self.average)
        had, has = ({n: type(x).__name__ for n, x in some.items()} for some in (mine, theirs))
        if had != has:
            raise RuntimeError(f"network had layers {had} when copied, has {has}")
        moved = []
        for name, layer in theirs.items():
            copy = mine[name]
            if _kinds(layer) != _kinds(copy):
                raise RuntimeError(
                    f"layer {name!r} had parameters {_kinds(copy)} when copied, has {_kinds(layer)}"
                )
            if _rewires(layer) and _rewires(copy):
                positions = layer.positions
                if not np.array_equal(positions, copy.positions):
                    moved.append((copy, positions))
        for sparse, positions in moved:
            sparse.reconnect(positions)
        self.updates += 1
        share = self._share()
        average = self.average.params
        for name, theta in self.network.params.items():
            # The first time not as a difference, which would leave some of what was there before.
            average[name][:] = (
                theta if share == 1 else average[name] + share * (theta - average[name])
            )

    def _share(self) -> float:
        return 1 / self.updates


class ExponentialMovingAverage(StochasticWeightAveraging):
    """Keep an average of a network's parameters in which old points fade.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`; only read, whoever trains it.
    decay : float
        β, how much of a point's share is left one `update` later, in [0, 1): about the last
        1 / (1 - β) points count.

    Attributes
    ----------
    average : Layer
        A copy of the network whose parameters, changed in place, are the average; before the
        first `update` those that the network had.
    updates : int
        How many points are in it.

    Raises
    ------
    ValueError
        If `decay` is out of range.
    """

    def __init__(self, network: Layer, *, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        super().__init__(network)
        self.decay = decay

    def _share(self) -> float:
        return (1 - self.decay) / (1 - self.decay**self.updates)


def _layers(network: Layer) -> dict[str, Layer]:
    return dict(named_layers(network)) if isinstance(network, Sequential) else {"": network}


def _rewires(layer: Layer) -> TypeGuard[_Rewirable]:
    return hasattr(layer, "reconnect")


def _kinds(layer: Layer) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    kinds = {name: (theta.shape, theta.dtype) for name, theta in layer.params.items()}
    if _rewires(layer):  # the matrix, however many connections are in it
        kinds["weight"] = layer.weight.shape, layer.weight.dtype
    return kinds
