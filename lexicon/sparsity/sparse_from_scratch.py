"""Sparse training from scratch draws the connections first and trains only those.

There is no dense network to prune: the positions are drawn once (Erdős–Rényi), the values are
scaled to the connections that a neuron really has, and every step costs what the sparse network
costs, from the first one on:

    positions of layer l: nₗ of out · in, uniform without replacement
    wᵢⱼ ~ N(0, 2 / fan_inᵢ),   fan_inᵢ = stored connections of neuron i

A neuron without connections outputs its bias. The positions never change here; letting them move
is `rewiring`.

References
----------
Mocanu, D., Mocanu, E., Nguyen, P., Gibescu, M., Liotta, A. (2016). A topological insight into
    restricted Boltzmann machines. Machine Learning 104.
Evci, U., Ioannou, Y., Keskin, C., Dauphin, Y. (2022). Gradient flow in sparse neural networks
    and how lottery tickets win. AAAI.
Liu, S., et al. (2022). The unreasonable effectiveness of random pruning: return of the most
    naive baseline for sparse training. ICLR.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import index

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import csr_array

from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import erdos_renyi, sample_positions
from lexicon.sparsity.sparse_initialization import sparse_he_normal

__all__ = ["mlp_of_counts", "random_csr", "sparse_mlp"]


def random_csr(
    shape: tuple[int, int],
    count: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> csr_array:
    """Draw a sparse weight matrix: random positions, He-normal values by real fan-in.

    Parameters
    ----------
    shape : tuple of int
        (out, in), each at least 1.
    count : int
        How many connections, 0 to out · in.
    rng : numpy.random.Generator
        Draws positions and values.
    dtype : float32 or float64
        The type of the values.

    Returns
    -------
    csr_array, shape (out, in)
        Canonical, with exactly `count` stored values.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64, or a size is not an integer.
    ValueError
        If `shape` is not two numbers of at least 1, or `count` is out of range.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be (out, in) of at least 1 each, got {shape}")
    n_out, n_in = map(index, shape)  # NumPy's own integers would overflow in the product
    positions = sample_positions(n_out * n_in, count, rng=rng)
    indptr = np.searchsorted(positions, np.arange(n_out + 1) * n_in)
    values = sparse_he_normal(indptr, rng=rng, dtype=dtype)
    index_type = np.int32 if max(n_in, count) <= np.iinfo(np.int32).max else np.int64
    return csr_array(
        (values, (positions % n_in).astype(index_type), indptr.astype(index_type)),
        shape,
    )


def sparse_mlp(
    sizes: Sequence[int],
    *,
    density: float,
    rng: np.random.Generator,
    activation: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = relu,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Build a multilayer perceptron that is sparse from the start.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, and of the output.
    density : float
        The share of all weights that exist, in (0, 1]; Erdős–Rényi over the layers.
    rng : numpy.random.Generator
        Draws positions and values.
    activation : callable, default relu
        Between the layers; as `Activation` takes it.
    dtype : float32 or float64
        The type of the weights.

    Returns
    -------
    Sequential
        CSRLinear, activation, CSRLinear, …, CSRLinear.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64, or a size is not an integer.
    ValueError
        If there are fewer than two sizes, one is below 1, or `density` is out of range.
    """
    counts = erdos_renyi(_shapes(sizes), density)
    return mlp_of_counts(sizes, counts, rng=rng, activation=activation, dtype=dtype)


def mlp_of_counts(
    sizes: Sequence[int],
    counts: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = relu,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Build a multilayer perceptron with a given number of connections in each layer.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer, and of the output.
    counts : sequence of int
        Connections of each layer, one fewer than `sizes`, as `erdos_renyi` and its kin count them.
    rng : numpy.random.Generator
        Draws positions and values.
    activation : callable, default relu
        Between the layers; as `Activation` takes it.
    dtype : float32 or float64
        The type of the weights.

    Returns
    -------
    Sequential
        CSRLinear, activation, CSRLinear, …, CSRLinear.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64, or a size is not an integer.
    ValueError
        If there are fewer than two sizes, one is below 1, or `counts` does not fit them.
    """
    shapes = _shapes(sizes)
    if len(counts) != len(shapes) or any(
        not 0 <= count <= n_out * n_in for count, (n_out, n_in) in zip(counts, shapes, strict=True)
    ):
        raise ValueError(f"counts must be 0 to out · in for each of {shapes}, got {list(counts)}")
    layers: list[Layer] = []
    for shape, count in zip(shapes, counts, strict=True):
        layers += [
            CSRLinear(random_csr(shape, count, rng=rng, dtype=dtype)),
            Activation(activation),
        ]
    return Sequential(layers[:-1])


def _shapes(sizes: Sequence[int]) -> list[tuple[int, int]]:
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more numbers of at least 1, got {list(sizes)}")
    return [(index(n_out), index(n_in)) for n_in, n_out in pairwise(sizes)]
