"""Constant fan-in gives every neuron the same number of inputs, and still lets chance choose which.

Positions drawn over a whole layer leave the number of inputs of each neuron to luck: with m on
average, about e⁻ᵐ of the neurons have none. Here each neuron draws for itself:

    Sᵢ  a set of k distinct inputs of n_in, every set equally likely, for every neuron i

All rows are equally long, so where a row starts is i·k and need not be stored, and the weight is
two rectangular arrays, values V and columns C, both (out, k):

    yₙᵢ   = Σₛ Vᵢₛ xₙ,Cᵢₛ + bᵢ      gather k inputs a neuron, multiply
    dVᵢₛ  = Σₙ dyₙᵢ xₙ,Cᵢₛ          gather
    dxₙⱼ  = Σ dyₙᵢ Vᵢₛ, Cᵢₛ = j      scatter: how many read input j is not constant

Rewiring that keeps the numbers constant, and the removal of whole neurons, are left out.

References
----------
Bell, N., Garland, M. (2009). Implementing sparse matrix-vector multiplication on
    throughput-oriented processors. SC.
Lasby, M., Golubeva, A., Evci, U., Nica, M., Ioannou, Y. (2024). Dynamic sparse training with
    structured sparsity. ICLR.
"""

from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import csr_array

from lexicon.foundations.linear_layer import check_batch
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sampled_gradient import gathered_by_row
from lexicon.sparsity.sparse_initialization import sparse_he_normal

__all__ = ["Condensed", "CondensedLinear", "condensed", "constant_fan_in"]

_INT32_MAX = np.iinfo(np.int32).max
_CHUNK = 1024  # gathered vectors that should stay in the second-level cache


class Condensed(NamedTuple):
    """Hold a matrix whose rows store equally many values: two rectangles, and no row pointers.

    Parameters
    ----------
    values : ndarray, shape (out, k)
        The values of each row.
    columns : ndarray of int32, shape (out, k)
        Their columns, ascending within a row; int64 where int32 cannot count
        the matrix's columns or values.
    n_in : int
        How many columns the matrix has.
    """

    values: np.ndarray
    columns: np.ndarray
    n_in: int

    def to_csr(self) -> csr_array:
        """Return the same matrix as compressed sparse rows; the values are shared, not copied.

        Returns
        -------
        csr_array, shape (out, n_in)
            Canonical, with ``values`` as its data.
        """
        parts = self.values.ravel(), self.columns.ravel(), _starts(self.columns)
        return csr_array(parts, (len(self.values), self.n_in))


def constant_fan_in(
    shape: tuple[int, int],
    fan_in: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> csr_array:
    """Draw a sparse weight matrix in which every row has equally many values, He-normal.

    Parameters
    ----------
    shape : tuple of int
        (out, in), each at least 1.
    fan_in : int
        k, the inputs of each output, 1 to `in`.
    rng : numpy.random.Generator
        Draws positions and values.
    dtype : float32 or float64
        The type of the values.

    Returns
    -------
    csr_array, shape (out, in)
        Canonical; every row holds k values of variance 2 / k, every set of columns equally likely.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64, or a number is not an integer.
    ValueError
        If `shape` is not two numbers of at least 1, or `fan_in` is out of range.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be (out, in) of at least 1 each, got {shape}")
    n_out, n_in, k = *map(index, shape), index(fan_in)
    if not 1 <= k <= n_in:
        raise ValueError(f"fan_in must be 1 to {n_in}, the inputs there are, got {k}")
    index_type = np.int32 if max(n_in, n_out * k) <= _INT32_MAX else np.int64
    if k <= n_in // 2:
        columns = _distinct(n_out, n_in, k, index_type, rng)
    else:  # drawing what stays out is faster, and cannot stall near full
        absent = _distinct(n_out, n_in, n_in - k, index_type, rng)
        absent = absent + np.arange(n_out, dtype=np.int64)[:, None] * n_in
        gaps = np.diff(absent.ravel(), prepend=-1, append=n_out * n_in) - 1
        absent_before = np.repeat(np.arange(len(gaps)), gaps)
        columns = ((np.arange(n_out * k) + absent_before) % n_in).astype(index_type)
    starts = _starts(columns.reshape(n_out, k))
    values = sparse_he_normal(starts, rng=rng, dtype=dtype)
    return csr_array((values, columns.ravel(), starts), (n_out, n_in))


def condensed(weight: csr_array) -> Condensed:
    """Write a matrix of equally long rows without its row pointers.

    Parameters
    ----------
    weight : csr_array, shape (out, in)
        Canonical, float32 or float64, with k ≥ 1 stored values in every row; not changed.

    Returns
    -------
    Condensed
        The same matrix, copied.

    Raises
    ------
    TypeError
        If `weight` is not a csr_array of float32 or float64.
    ValueError
        If the rows differ in length or are empty, or `CSRLinear` would refuse `weight`.
    """
    checked = CSRLinear(weight).weight
    lengths = np.diff(checked.indptr)
    if lengths.min() != lengths.max() or lengths[0] == 0:
        raise ValueError(
            "weight must store equally many values in every row, at least one, "
            f"got {lengths.min()} to {lengths.max()}"
        )
    rectangle = checked.shape[0], int(lengths[0])
    return Condensed(
        checked.data.reshape(rectangle), checked.indices.reshape(rectangle), checked.shape[1]
    )


class CondensedLinear:
    """Compute ``y = x Wᵀ + b`` with a W of constant fan-in, held without row pointers.

    Parameters
    ----------
    weight : csr_array, shape (out, in)
        As `condensed` takes it; copied.

    Attributes
    ----------
    weight : Condensed
        The connections.
    params, grads : dict
        ``"weight"`` (out, k), the very array ``weight.values``, and ``"bias"`` (out,), zeros at
        first.

    Raises
    ------
    TypeError, ValueError
        As `condensed`.
    """

    def __init__(self, weight: csr_array) -> None:
        self.weight = condensed(weight)
        values = self.weight.values
        self.params = {"weight": values, "bias": np.zeros(len(values), values.dtype)}
        self.grads: dict[str, np.ndarray] = {}
        self._x: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Gather each neuron's inputs, multiply, and keep `x` for `backward`.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, of the type of the weights; kept, not copied, where it is the transpose of a
            C-ordered array, which is what this layer returns.

        Returns
        -------
        ndarray, shape (N, out)
            The outputs.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        values, columns, n_in = self.weight
        check_batch("x", x, n_in, values.dtype)
        x_t = np.ascontiguousarray(x.T)
        self._x = x_t.T
        n_out, k = values.shape
        y_t = np.empty((n_out, len(x)), x.dtype)
        step = max(_CHUNK // k, 1)
        inputs = np.empty((min(step, n_out), k, len(x)), x.dtype)
        for start in range(0, n_out, step):
            rows = slice(start, start + step)
            part = x_t.take(columns[rows], axis=0, out=inputs[: n_out - start], mode="clip")
            np.matmul(values[rows, None], part, out=y_t[rows, None])
        y_t += self.params["bias"][:, None]
        return y_t.T

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient with respect to the input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._x is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        values, columns, _ = self.weight
        check_batch("dy", dy, len(values), values.dtype, samples=len(self._x))
        x, self._x = self._x, None
        dy_t = np.ascontiguousarray(dy.T)
        gradient = gathered_by_row(dy_t.T, x, _starts(columns), columns.ravel())
        self.grads = {"weight": gradient.reshape(values.shape), "bias": dy.sum(axis=0)}
        # A column has no constant number of readers: SciPy's product scatters row by row.
        return (self.weight.to_csr().T @ dy_t).T


def _distinct(
    n_out: int, n_in: int, k: int, index_type: type[np.signedinteger], rng: np.random.Generator
) -> np.ndarray:
    """Draw k ascending numbers below n_in for each of n_out rows, all sets equally likely.

    Repeats are drawn again until there are none. Which draws repeat does not depend on what the
    numbers are called, so no set is preferred. For k ≤ n_in / 2 at least every second draw is
    new on average: k draws and a few rounds.
    """
    columns = rng.integers(n_in, size=(n_out, k), dtype=index_type)
    rows = np.arange(n_out)
    while len(rows):
        drawn = np.sort(columns[rows], axis=1)
        repeated = np.zeros(drawn.shape, bool)
        repeated[:, 1:] = drawn[:, 1:] == drawn[:, :-1]
        drawn[repeated] = rng.integers(n_in, size=int(repeated.sum()), dtype=index_type)
        columns[rows] = drawn
        rows = rows[repeated.any(axis=1)]
    return columns


def _starts(columns: np.ndarray) -> np.ndarray:
    """Return where each row starts: the row pointers that need no storing."""
    return np.arange(0, columns.size + 1, columns.shape[1], dtype=columns.dtype)


def _reference(
    weight: Condensed, bias: np.ndarray, x: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute y, dV and dx in plain loops: what the layer has to agree with."""
    values, columns, n_in = weight
    y = np.tile(bias, (len(x), 1))
    gradient, dx = np.zeros_like(values), np.zeros((len(x), n_in), x.dtype)
    for n in range(len(x)):
        for i, row in enumerate(columns):
            for s, j in enumerate(row):
                y[n, i] += values[i, s] * x[n, j]
                gradient[i, s] += dy[n, i] * x[n, j]
                dx[n, j] += dy[n, i] * values[i, s]
    return y, gradient, dx
