"""Fine-tuning trains a pruned network further, until what is left makes up for what is gone.

Pruning takes weights away that the others counted on. Some more epochs let the survivors adapt. A
network trained for T epochs at the rates η(0) … η(T - 1), pruned, is trained for t more in one of
three ways, which differ in where the survivors start and how large their steps are:

    fine-tuning              the values of epoch T        η(T - 1), η(T - 1), …
    learning-rate rewinding  the values of epoch T        η(T - t), …, η(T - 1)
    weight rewinding         the values of epoch T - t    η(T - t), …, η(T - 1)

How far did they go, and is what pruning took away there again?

    distance = ‖w - w₀‖ / ‖w₀‖     growth = ‖w‖ / ‖w₀‖
    regained = 1 - ‖z - z₀‖² / ‖z' - z₀‖²

with w₀ the survivors' earlier values, and z₀, z', z a layer's outputs before pruning, after it and
after training. Which weights go is left to a score, when to a schedule.

References
----------
Han, S., Pool, J., Tran, J., Dally, W. (2015). Learning both weights and connections for
    efficient neural networks. NeurIPS.
Frankle, J., Dziugaite, G., Roy, D., Carbin, M. (2020). Linear mode connectivity and the lottery
    ticket hypothesis. ICML.
Renda, A., Frankle, J., Carbin, M. (2020). Comparing rewinding and fine-tuning in neural network
    pruning. ICLR.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear

__all__ = [
    "Movement",
    "constant_rate",
    "earlier_values",
    "movement",
    "regained",
    "rewind",
    "rewound_rate",
]


def constant_rate(schedule: Callable[[int], float], *, trained: int) -> Callable[[int], float]:
    """Return the learning rate of fine-tuning: the last one of the training, throughout.

    Parameters
    ----------
    schedule : callable
        η: takes an epoch, counted from 0, returns its learning rate.
    trained : int
        T, how many epochs the network was trained, at least 1.

    Returns
    -------
    callable
        Takes an epoch of the fine-tuning, returns ``schedule(trained - 1)``.

    Raises
    ------
    ValueError
        If `trained` is out of range.
    """
    if trained < 1:
        raise ValueError(f"trained must be at least 1, got {trained}")
    rate = schedule(trained - 1)
    return lambda epoch: rate


def rewound_rate(
    schedule: Callable[[int], float], *, trained: int, epochs: int
) -> Callable[[int], float]:
    """Return the learning rate of rewinding: that of the last epochs of training, once more.

    Parameters
    ----------
    schedule : callable
        η: takes an epoch, counted from 0, returns its learning rate.
    trained : int
        T, how many epochs the network was trained.
    epochs : int
        t, how many of them to go through again, 1 to `trained`.

    Returns
    -------
    callable
        Takes an epoch of the retraining, returns ``schedule(trained - epochs + epoch)``.

    Raises
    ------
    ValueError
        If `epochs` is out of range.
    """
    if not 1 <= epochs <= trained:
        raise ValueError(f"epochs must be 1 to {trained}, as many as were trained, got {epochs}")
    return lambda epoch: schedule(trained - epochs + epoch)


def earlier_values(network: Sequential, earlier: Sequential) -> dict[str, np.ndarray]:
    """Look up the values that a pruned network's parameters had at another time.

    Parameters
    ----------
    network : Sequential
        Pruned: its `CSRLinear` layers store some positions only.
    earlier : Sequential
        The same network at that time, such as a ``copy.deepcopy``. Where `network` has a CSR layer
        it may have a dense one, or a CSR layer that stores those positions and more.

    Returns
    -------
    dict of str to ndarray
        For every parameter, by name, its earlier values in today's shape: weights by position.

    Raises
    ------
    TypeError
        If a parameter was of another type then.
    ValueError
        If the layers or their shapes differ, or a position was not stored then.
    """
    then = dict(named_layers(earlier))
    if [name for name, _ in named_layers(network)] != list(then):
        raise ValueError("earlier must have the layers of network")
    values = {}
    for layer_name, layer in named_layers(network):
        for key, theta in layer.params.items():
            name, was = f"{layer_name}.{key}", then[layer_name].params.get(key)
            if was is None or _shape(then[layer_name], key) != _shape(layer, key):
                raise ValueError(f"earlier must have {name} of {_shape(layer, key)}")
            if was.dtype != theta.dtype:
                raise TypeError(f"earlier must have {name} in {theta.dtype}, got {was.dtype}")
            if key == "weight" and isinstance(layer, CSRLinear):
                was = was.ravel()[_places(layer.positions, then[layer_name], name)]
            values[name] = was.copy()
    return values


def rewind(network: Sequential, earlier: Sequential) -> None:
    """Put a pruned network's parameters back to what they were, its positions as they are.

    Parameters
    ----------
    network : Sequential
        Pruned; changed in place. An optimiser's velocity belongs to the old values: make a new one.
    earlier : Sequential
        As `earlier_values` takes it; not changed.

    Raises
    ------
    TypeError, ValueError
        As `earlier_values`; nothing is changed then.
    """
    for name, values in earlier_values(network, earlier).items():
        network.params[name][:] = values


class Movement(NamedTuple):
    """How the surviving weights changed.

    Parameters
    ----------
    distance : float
        ``‖w - w₀‖ / ‖w₀‖``, 0 if they stayed where they were.
    growth : float
        ``‖w‖ / ‖w₀‖``, above 1 if they grew.
    """

    distance: float
    growth: float


def movement(network: Sequential, earlier: Sequential) -> Movement:
    """Measure how far the weights of a pruned network went, all layers together.

    Parameters
    ----------
    network : Sequential
        Pruned, after training.
    earlier : Sequential
        As `earlier_values` takes it, such as the network before it was pruned.

    Returns
    -------
    Movement
        Of the weights that survived; those that went, and the biases, are not counted.

    Raises
    ------
    TypeError, ValueError
        As `earlier_values`, or if all weights were 0.
    """
    values = earlier_values(network, earlier)
    names = [name for name in values if name.endswith("weight")]
    was = np.concatenate([values[name].ravel() for name in names], dtype=np.float64)
    now = np.concatenate([network.params[name].ravel() for name in names], dtype=np.float64)
    norm = np.linalg.norm(was)
    if norm == 0:
        raise ValueError("earlier must have weights that are not all 0")
    return Movement(float(np.linalg.norm(now - was) / norm), float(np.linalg.norm(now) / norm))


def regained(before: np.ndarray, pruned: np.ndarray, after: np.ndarray) -> float:
    """Return which share of what pruning took from an output is there again.

    Parameters
    ----------
    before : ndarray, shape (N, out)
        What a layer or a network returned before it was pruned.
    pruned : ndarray, shape (N, out)
        What it returned for the same samples just after.
    after : ndarray, shape (N, out)
        What it returns now.

    Returns
    -------
    float
        1 where `after` is `before`, 0 where it is as far from it as `pruned`, below 0 if farther;
        squared distances.

    Raises
    ------
    ValueError
        If the shapes differ, or nothing was lost: a millionth of the outputs' norm or less.
    """
    if not before.shape == pruned.shape == after.shape:
        raise ValueError(
            f"outputs must have one shape, got {before.shape}, {pruned.shape} and {after.shape}"
        )
    lost = np.square(pruned - before, dtype=np.float64).sum()
    if lost <= 1e-12 * np.square(before, dtype=np.float64).sum():  # no more than rounding
        raise ValueError("pruned must differ from before: nothing was lost")
    return float(1 - np.square(after - before, dtype=np.float64).sum() / lost)


def _shape(layer: Layer, key: str) -> tuple[int, ...]:
    if key == "weight" and isinstance(layer, CSRLinear):
        return layer.weight.shape
    return layer.params[key].shape


def _places(positions: np.ndarray, layer: Layer, name: str) -> np.ndarray:
    if not isinstance(layer, CSRLinear):
        return positions
    stored = layer.positions
    places = np.searchsorted(stored, positions)
    if (np.append(stored, -1)[places] != positions).any():
        raise ValueError(f"earlier must have stored all positions of {name}")
    return places
