"""A million neurons cost what their connections and activations cost, and that is linear.

Wider layers make a dense network's cost grow with the square of its neurons. With ε connections
for every neuron on either side of a layer it grows like the neurons themselves. Of one training
step with momentum on N samples, in float32 with int32 indices, a network with layers of nₗ₋₁
inputs, nₗ outputs and cₗ connections keeps, in bytes:

    weights = gradients = velocities     4 Σ (cₗ + nₗ)
    indices                              4 Σ (cₗ + nₗ + 1)
    activations                          4 N Σ nₗ₋₁  +  4 N n_L  +  Σ ⌈N nₗ / 8⌉
    FLOPs                                6 N Σ cₗ

The last sum of the activations runs over the hidden layers: the signs that ReLU keeps for its
derivative, one bit each in a `PackedReLU`. What one operation holds while it runs is left out.

References
----------
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
Jain, A., Phanishayee, A., Mars, J., Tang, L., Pekhimenko, G. (2018). Gist: efficient data
    encoding for deep neural network training. ISCA.
Liu, S., Mocanu, D., Matavalam, A., Pei, Y., Pechenizkiy, M. (2021). Sparse evolutionary deep
    learning with over one million artificial neurons on commodity hardware. Neural Computing
    and Applications 33.
"""

from collections.abc import Sequence
from itertools import pairwise
from operator import index
from typing import NamedTuple

import numpy as np

from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.sparsity.sparse_matrix import csr_bytes

__all__ = ["PackedReLU", "TrainingCost", "training_cost", "wide_mlp", "wide_sizes"]


class TrainingCost(NamedTuple):
    """Hold what one training step keeps and computes.

    Parameters
    ----------
    weight_bytes : int
        Values of the connections, and biases.
    index_bytes : int
        Columns and row pointers.
    gradient_bytes : int
        A number for each weight and bias.
    velocity_bytes : int
        Momentum: a number for each weight and bias.
    activation_bytes : int
        What lies between forward and backward: each layer's input, the output, and the bits of
        each `PackedReLU`.
    flops : int
        Of the products at the stored connections, forward and backward.
    """

    weight_bytes: int
    index_bytes: int
    gradient_bytes: int
    velocity_bytes: int
    activation_bytes: int
    flops: int


def wide_sizes(
    neurons: int, *, inputs: int = 784, outputs: int = 10, hidden_layers: int = 3
) -> list[int]:
    """Share neurons out equally among the hidden layers, the first ones taking the rest.

    Parameters
    ----------
    neurons : int
        Hidden neurons in all, at least one for each layer.
    inputs, outputs : int
        The two ends, at least 1 each.
    hidden_layers : int, default 3
        How many share, at least 1.

    Returns
    -------
    list of int
        Width of the input, of each hidden layer, and of the output.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small.
    """
    neurons, inputs, outputs = index(neurons), index(inputs), index(outputs)
    hidden_layers = index(hidden_layers)
    numbers = {"inputs": inputs, "outputs": outputs, "hidden_layers": hidden_layers}
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if neurons < hidden_layers:
        raise ValueError(f"neurons must be at least {hidden_layers}, one a layer, got {neurons}")
    width, rest = divmod(neurons, hidden_layers)
    return [inputs, *(width + (i < rest) for i in range(hidden_layers)), outputs]


def training_cost(sizes: Sequence[int], counts: Sequence[int], samples: int) -> TrainingCost:
    """Count what a `wide_mlp` keeps and computes in one step of `Momentum`, by the formulas above.

    The working memory of single operations comes on top: at the peak up to one more array of the
    widest layer, and a byte a number. So do FLOPs per neuron, and those that a layer denser than
    8 % spends for a faster `sampled_gradient`.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, and of the output.
    counts : sequence of int
        Connections of each layer.
    samples : int
        The batch size, at least 1.

    Returns
    -------
    TrainingCost
        Bytes in float32, indices in int32 as long as that can count them, and FLOPs.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, or `counts` does not fit `sizes`.
    """
    layers, samples = _layers(sizes, counts), index(samples)
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    weights = indices = 0
    for (n_out, n_in), count in layers:
        index_bytes = 4 if max(n_in, count) <= np.iinfo(np.int32).max else 8
        indices += csr_bytes(count, n_out, value_bytes=1, index_bytes=index_bytes) - count
        weights += 4 * (count + n_out)
    numbers = sum(n_in for (_, n_in), _ in layers) + layers[-1][0][0]
    bits = sum((samples * n_out + 7) // 8 for (n_out, _), _ in layers[:-1])
    activations = 4 * samples * numbers + bits
    flops = 6 * samples * sum(count for _, count in layers)
    return TrainingCost(weights, indices, weights, weights, activations, flops)


class PackedReLU:
    """Compute ``max(0, x)`` and keep one bit a number for the way back.

    The same results as ``Activation(relu)``, which keeps a byte a number.

    Attributes
    ----------
    params, grads : dict
        Empty: there is nothing to train.
    """

    def __init__(self) -> None:
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, tuple[int, ...], tuple[int, ...], np.dtype] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the values and keep which of them are positive.

        Parameters
        ----------
        x : ndarray, any shape
            Floating point; NaN stays NaN. The layout in memory is that of the result.

        Returns
        -------
        ndarray, shape and type of `x`
            The values.

        Raises
        ------
        TypeError
            If `x` is not floating point.
        """
        if not np.issubdtype(x.dtype, np.floating):
            raise TypeError(f"x must be floating point, got {x.dtype}")
        positive = x > 0
        # In the order of memory: no transposing, neither here nor on the way back.
        bits = np.packbits(positive.ravel(order="K"))
        self._kept = bits, positive.shape, positive.strides, x.dtype
        del positive  # eight times the bits, and not needed beside the result
        return np.maximum(x, 0)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Pass the gradient where the input was positive.

        Parameters
        ----------
        dy : ndarray, shape of the last `forward`'s input
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, same shape
            The gradient of the loss with respect to the input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If the type is not that of the input.
        ValueError
            If the shape is another.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        bits, shape, strides, dtype = self._kept
        if dy.dtype != dtype:
            raise TypeError(f"dy must be {dtype} like the input, got {dy.dtype}")
        if dy.shape != shape:
            raise ValueError(f"dy must be {shape}, got {dy.shape}")
        self._kept = None
        return dy * np.ndarray(shape, np.bool_, np.unpackbits(bits), strides=strides)


def wide_mlp(
    sizes: Sequence[int], counts: Sequence[int], *, rng: np.random.Generator
) -> Sequential:
    """Build a sparse multilayer perceptron in float32 that keeps as little as it can.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, and of the output.
    counts : sequence of int
        Connections of each layer, as `epsilon_counts` and its kin count them.
    rng : numpy.random.Generator
        Draws positions and values.

    Returns
    -------
    Sequential
        CSRLinear, PackedReLU, CSRLinear, …, CSRLinear.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, or `counts` does not fit `sizes`.
    """
    layers: list[Layer] = []
    for shape, count in _layers(sizes, counts):
        layers += [CSRLinear(random_csr(shape, count, rng=rng)), PackedReLU()]
    return Sequential(layers[:-1])


def _layers(sizes: Sequence[int], counts: Sequence[int]) -> list[tuple[tuple[int, int], int]]:
    """Return each layer's shape and connections, in Python's integers, which do not overflow."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more numbers of at least 1, got {list(sizes)}")
    shapes = [(index(n_out), index(n_in)) for n_in, n_out in pairwise(sizes)]
    counts = [index(count) for count in counts]
    if len(counts) != len(shapes) or any(
        not 0 <= count <= n_out * n_in for count, (n_out, n_in) in zip(counts, shapes, strict=True)
    ):
        raise ValueError(f"counts must be 0 to out · in for each of {shapes}, got {counts}")
    return list(zip(shapes, counts, strict=True))
