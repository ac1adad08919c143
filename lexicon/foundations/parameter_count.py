"""A network's size is three numbers that do not go together: parameters, FLOPs and kept bytes.

Parameters are what is learned. FLOPs are what is computed with them: a weight costs two, a product
and a sum, each time that it is used. And what forward keeps for backward grows with the batch:

    parameters       Σ sizes of the trainable arrays
    forward FLOPs    2 · (numbers in y) · (weights in a row of W); an embedding, which reads: 0
    step FLOPs       3 · forward: y, dx and dW have products of one size
    bytes to train   parameters + gradients + optimiser state + what forward keeps

All are read off the layers that are there and the arrays that flow. Left out: the FLOPs of
activations, norms, losses and the optimiser, and the sums that are a bias's or an embedding's
gradient; arrays that live only within a call; layers that use their weights in another way, such
as sparse ones. A layer that looks for zeros in its input is counted as if it found none.

References
----------
LeCun, Y., Bottou, L., Bengio, Y., Haffner, P. (1998). Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86(11).
Chen, T., Xu, B., Zhang, C., Guestrin, C. (2016). Training deep nets with sublinear memory cost.
    arXiv:1604.06174.
Canziani, A., Paszke, A., Culurciello, E. (2016). An analysis of deep neural network models for
    practical applications. arXiv:1605.07678.
"""

from collections.abc import Sequence
from copy import deepcopy
from operator import index
from typing import NamedTuple

import numpy as np

from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Layer, Sequential, named_layers

__all__ = ["LayerCount", "Memory", "count_layers", "total", "training_memory"]


class LayerCount(NamedTuple):
    """What a layer takes for one batch.

    Parameters
    ----------
    name : str
        Its place in the network, such as ``"0"`` or ``"2.1"``.
    kind : str
        Its class.
    shape : tuple of int
        That of its output.
    parameters : int
        Trainable numbers.
    parameter_bytes : int
        Bytes of these.
    forward_flops : int
        Multiplications and additions of the products with its weights, for the whole batch.
    step_flops : int
        The same in a training step: y, dx and dW, of the first layer too.
    kept_bytes : int
        Bytes that forward leaves for backward, each array counted where it is kept first.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    parameter_bytes: int
    forward_flops: int
    step_flops: int
    kept_bytes: int


class Memory(NamedTuple):
    """Bytes that are there at once at the end of a forward pass in training.

    Parameters
    ----------
    parameters : int
        The weights and biases.
    gradients : int
        Those of the step before: as many, where none is stored sparsely.
    optimizer : int
        What the optimiser keeps between steps.
    kept : int
        What forward left for backward.
    """

    parameters: int
    gradients: int
    optimizer: int
    kept: int


def count_layers(network: Sequential, x: np.ndarray) -> list[LayerCount]:
    """Count what every layer takes, on a copy of the network that runs forward once.

    Parameters
    ----------
    network : Sequential
        The layers; those of a `Sequential` inside it are counted one by one. Not changed.
    x : ndarray, shape (N, ...)
        A batch as the first layer takes it; its values do not matter. Not changed.

    Returns
    -------
    list of LayerCount
        A row for each layer, in the order of the data.

    Raises
    ------
    TypeError
        If `network` is not a `Sequential`, or if it holds a layer whose products are not known: its
        parameters are neither vectors like a norm's, nor a table of an `Embedding`, nor a
        ``"weight"`` (out, in, ...) of which each row makes the numbers of one output.
    ValueError
        If a layer cannot take the batch.
    """
    if not isinstance(network, Sequential):
        raise TypeError(f"network must be a Sequential, got {type(network).__name__}")
    # Forward draws, counts and keeps: let it do so elsewhere.
    network, x = deepcopy(network), x.copy()
    layers = list(named_layers(network))
    before = [array for _, layer in layers for array in _held(layer)]
    flows = []
    for _, layer in layers:
        y = layer.forward(x)
        flows.append((_flops(layer, x, y), y.shape))
        x = y
    counted = {id(array) for array in before}
    rows = []
    for (name, layer), (flops, shape) in zip(layers, flows, strict=True):
        kept = {id(array): array.nbytes for array in _held(layer) if id(array) not in counted}
        counted |= kept.keys()
        rows.append(
            LayerCount(
                name,
                type(layer).__name__,
                shape,
                sum(theta.size for theta in layer.params.values()),
                sum(theta.nbytes for theta in layer.params.values()),
                flops,
                3 * flops,
                sum(kept.values()),
            )
        )
    return rows


def total(rows: Sequence[LayerCount]) -> LayerCount:
    """Add up the rows of a network.

    Parameters
    ----------
    rows : sequence of LayerCount
        At least one, as `count_layers` returns them.

    Returns
    -------
    LayerCount
        The sums, with the last layer's shape.

    Raises
    ------
    ValueError
        If `rows` is empty.
    """
    if not rows:
        raise ValueError("rows must hold at least one layer, got none")
    sums = (sum(column) for column in zip(*(row[3:] for row in rows), strict=True))
    return LayerCount("total", f"{len(rows)} layers", rows[-1].shape, *sums)


def training_memory(rows: Sequence[LayerCount], *, optimizer_arrays: int) -> Memory:
    """Add up what is in memory when a forward pass in training has just ended.

    Parameters
    ----------
    rows : sequence of LayerCount
        At least one, as `count_layers` returns them.
    optimizer_arrays : int
        How many numbers the optimiser keeps for each parameter: 0 for plain descent, 1 for
        momentum, 2 for Adam.

    Returns
    -------
    Memory
        Bytes by what they are for; their sum is the whole.

    Raises
    ------
    TypeError
        If `optimizer_arrays` is not an integer.
    ValueError
        If it is below 0, or `rows` is empty.
    """
    if index(optimizer_arrays) < 0:
        raise ValueError(f"optimizer_arrays must be at least 0, got {optimizer_arrays}")
    whole = total(rows)
    held = whole.parameter_bytes
    return Memory(held, held, optimizer_arrays * held, whole.kept_bytes)


def _flops(layer: Layer, x: np.ndarray, y: np.ndarray) -> int:
    """Count the forward products, in which each number of y takes one row of the weights."""
    params = layer.params
    if isinstance(layer, Embedding):
        return 0
    if "weight" not in params and all(theta.ndim < 2 for theta in params.values()):
        return 0  # number by number, if at all
    if params.keys() <= {"weight", "bias"} and x.ndim > 1 and y.ndim > 1:
        weight = params["weight"]
        if weight.shape[:2] == (y.shape[1], x.shape[1]):
            return 2 * y.size * weight[0].size
    raise TypeError(f"network must hold layers of known products, got {type(layer).__name__}")


def _held(layer: Layer) -> list[np.ndarray]:
    """Find the arrays behind a layer's attributes; a view stands for the array that it is of."""
    found, seen, stack = [], set(), list(vars(layer).values())
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            while isinstance(value.base, np.ndarray):
                value = value.base
            found.append(value)
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list | tuple):
            stack += value
        else:
            stack += getattr(value, "__dict__", {}).values()
    return found
