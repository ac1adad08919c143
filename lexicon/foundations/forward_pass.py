"""A forward pass sends a batch through layers in a row, each fed with the last one's output.

A network is a composition of functions, f = fₗ ∘ … ∘ f₂ ∘ f₁, and nothing more. What makes it
trainable is that every part keeps one small contract, the `Layer`; a chain of layers keeps it
too, and so is a layer itself:

    forward:   x₀ = x,   xᵢ = fᵢ(xᵢ₋₁),   y = xₗ
    backward:  dxᵢ₋₁ = fᵢ.backward(dxᵢ), from the last layer to the first

Branches and merges are left out: each needs a layer of its own that keeps the contract.

References
----------
Goodfellow, I., Bengio, Y., Courville, A. (2016). Deep Learning, sections 6.4 and 6.5. MIT Press.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np

__all__ = [
    "Layer",
    "Sequential",
    "Signals",
    "evaluating",
    "named_layers",
    "trace_inputs",
    "trace_shapes",
    "trace_signals",
]


class Layer(Protocol):
    """What every differentiable part of a network can do.

    `forward` never changes its input and keeps what `backward` needs. `backward` is called at
    most once for each `forward`. Optimisers update the arrays in `params` in place. A layer that
    computes something else in training than in use also has an attribute `training`, True at
    first: see `evaluating`.
    """

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Return the trainable arrays by name."""

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Return the gradients after `backward`: the same names and shapes as `params`."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the output.

        Parameters
        ----------
        x : ndarray, shape (N, features)
            A batch; not changed.

        Returns
        -------
        ndarray, shape (N, outputs)
            The output, of the type of `x`.
        """

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape of the last output
            The gradient of the loss with respect to that output.

        Returns
        -------
        ndarray, shape of the last input
            The gradient with respect to that input.
        """


class Sequential:
    """Chain layers: the output of each is the input of the next.

    Parameters
    ----------
    layers : sequence of Layer
        At least one, in the order in which the data flows.

    Attributes
    ----------
    layers : list of Layer
        The parts. ``params`` and ``grads`` name theirs by position: ``"0.weight"``.

    Raises
    ------
    ValueError
        If `layers` is empty, or the same layer object stands in it twice.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError("layers must be distinct objects: one cannot keep two inputs")
        self.layers = list(layers)

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Return all layers' parameters, the arrays themselves."""
        return {
            f"{i}.{k}": p for i, layer in enumerate(self.layers) for k, p in layer.params.items()
        }

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Return all layers' gradients, under the names of `params`."""
        return {
            f"{i}.{k}": g for i, layer in enumerate(self.layers) for k, g in layer.grads.items()
        }

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Send a batch through all layers.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, as the first layer takes it.

        Returns
        -------
        ndarray, shape (N, out)
            The last layer's output.

        Raises
        ------
        TypeError, ValueError
            As the layer that meets a batch it cannot take; the layers before it have kept theirs,
            so go `forward` again before `backward`.
        """
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Send a gradient through all layers, last to first, filling their `grads`.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient of the loss with respect to the input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As the layer that meets a gradient it cannot take.
        """
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


def trace_shapes(network: Sequential, x: np.ndarray) -> list[tuple[str, tuple[int, ...]]]:
    """List the shape of the batch before the first layer and after each.

    Parameters
    ----------
    network : Sequential
        The layers; each runs forward once, and keeps this `x` for a `backward`.
    x : ndarray, shape (N, in)
        A batch.

    Returns
    -------
    list of (str, tuple)
        ``("input", x.shape)``, then each layer's class name and its output's shape.
    """
    shapes = [("input", x.shape)]
    for layer in network.layers:
        x = layer.forward(x)
        shapes.append((type(layer).__name__, x.shape))
    return shapes


def trace_inputs(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network forward, and keep what each layer with weights received.

    Parameters
    ----------
    network : Sequential
        The layers; those of a `Sequential` inside it are traced too.
    x : ndarray, shape (N, in)
        A batch.

    Returns
    -------
    dict of str to ndarray
        By the name of the weight in ``network.params``, in the order of the data.
    """
    inputs = {}
    for name, layer in named_layers(network):
        received, x = x, layer.forward(x)
        if "weight" in layer.params:
            inputs[f"{name}.weight"] = received
    return inputs


class Signals(NamedTuple):
    """What passed through a layer, forward and back.

    Parameters
    ----------
    x : ndarray, shape (N, in)
        What the layer received.
    dy : ndarray, shape (N, out)
        The gradient with respect to what it returned.
    """

    x: np.ndarray
    dy: np.ndarray


def trace_signals(
    network: Sequential, x: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Signals]:
    """Run a network forward and back, and keep what passed through each layer with weights.

    Parameters
    ----------
    network : Sequential
        The layers; those of a `Sequential` inside it are traced too. Their `grads` are filled.
    x : ndarray, shape (N, in)
        A batch.
    gradient : callable
        Takes the network's output (N, out), returns the gradient with respect to it.

    Returns
    -------
    dict of str to Signals
        By the name of the weight in ``network.params``, such as ``"0.weight"``, in the order of
        the data.
    """
    layers = list(named_layers(network))
    inputs = []
    for _, layer in layers:
        inputs.append(x)
        x = layer.forward(x)
    dy = gradient(x)
    signals = {}
    for (name, layer), received in zip(reversed(layers), reversed(inputs), strict=True):
        if "weight" in layer.params:
            signals[f"{name}.weight"] = Signals(received, dy)
        dy = layer.backward(dy)
    return dict(reversed(signals.items()))


def named_layers(network: Sequential) -> Iterator[tuple[str, Layer]]:
    """Go through the layers of a network and of every `Sequential` inside it.

    Parameters
    ----------
    network : Sequential
        The layers.

    Yields
    ------
    (str, Layer)
        A layer's name and the layer, in the order of the data: the name before its parameters in
        ``network.params``, such as ``"0"`` or ``"2.1"``.
    """
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Sequential):
            yield from ((f"{i}.{name}", inner) for name, inner in named_layers(layer))
        else:
            yield str(i), layer


@contextmanager
def evaluating(network: Layer) -> Iterator[None]:
    """Let every layer compute what it computes in use, until the block ends.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`. Inside the block the attribute `training` of each layer that
        has one is False; after it, also after an error, what it was before.

    Yields
    ------
    None
        Nothing: the network itself is changed.
    """
    layers = [network]
    if isinstance(network, Sequential):
        layers = [layer for _, layer in named_layers(network)]
    before = [(layer, layer.training) for layer in layers if hasattr(layer, "training")]
    for layer, _ in before:
        layer.training = False
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training
