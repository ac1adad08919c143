"""A CSR layer is a linear layer that stores, multiplies and trains only its connections.

The weight is a compressed sparse row matrix of nnz values; forward and backward are its three
products, which need 2·N·nnz FLOPs each instead of 2·N·out·in:

    y  = x Wᵀ + b                      as (W xᵀ)ᵀ
    dx = dy W                          as (Wᵀ dyᵀ)ᵀ
    dWᵢⱼ = Σₙ dyₙᵢ xₙⱼ, (i, j) stored        db = Σₙ dyₙ

No dense weight is ever made. The last product is the `sampled_gradient`, which above 8 % density
(14 % where all rows hold equally many) spends more FLOPs than it needs, faster ones, and holds 128
rows of the dense gradient at a time. ``params["weight"]`` is the vector of stored values, so that
any optimiser trains it. Which positions are stored may change: `reconnect`.

References
----------
Tinney, W., Walker, J. (1967). Direct solutions of sparse network equations by optimally ordered
    triangular factorization. Proceedings of the IEEE 55(11).
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.linear_layer import check_batch
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["CSRLinear"]

_INT32_MAX = np.iinfo(np.int32).max
_WORTH_TWO_THREADS = 2 * 10**8  # FLOPs: some ten milliseconds


class CSRLinear:
    """Compute ``y = x Wᵀ + b`` with a sparse W that is never made dense.

    Parameters
    ----------
    weight : csr_array, shape (out, in)
        The connections, float32 or float64, canonical (rows sorted, no position twice); copied.
        A stored zero is a connection.
    bias : ndarray, shape (out,), optional
        The biases, of the same type; zeros if not given; copied.
    threads : int, default 2
        1 or 2: whether a second thread may share the products. It does where that pays, when
        they take 2·10⁸ FLOPs or more, 2·N·nnz each; the results are the same to the last bit.

    Attributes
    ----------
    weight : csr_array, shape (out, in)
        The connections, indexed by int32 as long as that can count them.
    params, grads : dict
        ``"weight"`` (nnz,), the very array ``weight.data``, and ``"bias"`` (out,).
    threads : int
        As given; may be set at any time.

    Raises
    ------
    TypeError
        If `weight` is not a csr_array of float32 or float64, or `bias` of another type.
    ValueError
        If `weight` is not a matrix, has duplicate or unsorted positions or one outside of it, if
        `bias` does not fit it, or `threads` is neither 1 nor 2.
    """

    def __init__(
        self, weight: csr_array, bias: np.ndarray | None = None, *, threads: int = 2
    ) -> None:
        if not isinstance(weight, csr_array):
            raise TypeError(f"weight must be a csr_array, got {type(weight).__name__}")
        if weight.dtype not in (np.float32, np.float64):
            raise TypeError(f"weight must be float32 or float64, got {weight.dtype}")
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(f"weight must be (out, in), neither of them 0, got {weight.shape}")
        columns = weight.indices  # SciPy does not look, and would read and write elsewhere
        if columns.size and not (columns.min() >= 0 and columns.max() < weight.shape[1]):
            raise ValueError(
                f"weight must have columns 0 to {weight.shape[1] - 1}, "
                f"got {columns.min()} to {columns.max()}"
            )
        stored = _csr(weight.data.copy(), columns, weight.indptr, weight.shape)
        if not stored.has_canonical_format:
            raise ValueError("weight must be canonical: call its sum_duplicates() first")
        bias = np.zeros(weight.shape[0], weight.dtype) if bias is None else bias
        if bias.dtype != weight.dtype:
            raise TypeError(f"bias must be {weight.dtype} like weight, got {bias.dtype}")
        if bias.shape != (weight.shape[0],):
            raise ValueError(f"bias must be ({weight.shape[0]},), got {bias.shape}")
        if threads not in (1, 2):
            raise ValueError(f"threads must be 1 or 2, got {threads}")
        self.weight = stored
        self.threads = threads
        self.params = {"weight": self.weight.data, "bias": bias.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self._x: np.ndarray | None = None

    @classmethod
    def from_dense(cls, weight: np.ndarray, mask: np.ndarray, bias: np.ndarray) -> Self:
        """Store what a mask marks of a dense weight, and forget the rest.

        Parameters
        ----------
        weight : ndarray, shape (out, in)
            The dense weights.
        mask : ndarray of bool, shape (out, in)
            True where a connection exists, even one whose weight is 0.
        bias : ndarray, shape (out,)
            The biases.

        Returns
        -------
        CSRLinear
            A layer with ``mask.sum()`` connections.

        Raises
        ------
        TypeError
            If `mask` is not bool, or `weight` or `bias` not of one type, float32 or float64.
        ValueError
            If `weight` is not a matrix, or `mask` or `bias` does not fit it.
        """
        if weight.ndim != 2:
            raise ValueError(f"weight must be (out, in), got {weight.shape}")
        if mask.dtype != np.bool_:
            raise TypeError(f"mask must be bool, got {mask.dtype}")
        if mask.shape != weight.shape:
            raise ValueError(f"mask must be {weight.shape} like weight, got {mask.shape}")
        stored = csr_array(mask)
        return cls(csr_array((weight[mask], stored.indices, stored.indptr), weight.shape), bias)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the outputs and keep `x` for `backward`.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, of the type of the weights; kept, not copied, so leave it as it is until
            `backward`. Fastest as the transpose of a C-ordered array, which is what this layer
            returns.

        Returns
        -------
        ndarray, shape (N, out)
            The outputs.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        check_batch("x", x, self.weight.shape[1], self.weight.dtype)
        x_t = np.ascontiguousarray(x.T)  # a view where the layer before returned a transpose
        self._x = x_t.T
        bias = self.params["bias"][:, None]
        if not self._pays_two_threads(1, len(x)):
            y_t = self.weight @ x_t
            return np.add(y_t, bias, out=y_t).T
        y_t = np.empty((len(bias), len(x)), x.dtype)

        @np.errstate(**np.geterr())  # a thread begins without the caller's
        def product(rows: slice) -> None:
            np.add(self.weight[rows] @ x_t, bias[rows], out=y_t[rows])

        middle = int(np.searchsorted(self.weight.indptr, self.weight.nnz // 2))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(product, [slice(0, middle), slice(middle, len(bias))]))
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
            If no `forward` came before, or the positions changed since.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._x is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        check_batch("dy", dy, self.weight.shape[0], self.weight.dtype, samples=len(self._x))
        x, self._x = self._x, None
        dy_t = np.ascontiguousarray(dy.T)
        indptr, indices = self.weight.indptr, self.weight.indices
        if self._pays_two_threads(2, len(x)):
            with ThreadPoolExecutor(1) as pool:
                product = pool.submit(lambda: self.weight.T @ dy_t)
                gradient = sampled_gradient(dy_t.T, x, indptr, indices)
                dx_t = product.result()
        else:
            gradient = sampled_gradient(dy_t.T, x, indptr, indices)
            del x  # one batch less in memory while dx is made
            dx_t = self.weight.T @ dy_t
        # A product, because NumPy sums along short rows five times slower.
        self.grads = {"weight": gradient, "bias": dy_t @ np.ones(len(dy), dy.dtype)}
        return dx_t.T

    def _pays_two_threads(self, products: int, samples: int) -> bool:
        return self.threads == 2 and products * 2 * samples * self.weight.nnz >= _WORTH_TWO_THREADS

    @property
    def positions(self) -> np.ndarray:
        """Return the stored positions as sorted numbers ``row · in + column``, int64."""
        n_out, n_in = self.weight.shape
        rows = np.repeat(np.arange(n_out, dtype=np.int64), np.diff(self.weight.indptr))
        return rows * n_in + self.weight.indices

    def reconnect(self, positions: np.ndarray) -> np.ndarray:
        """Change which positions are stored; what stays keeps its value, what is new is 0.

        Parameters
        ----------
        positions : ndarray of int64, shape (new nnz,)
            All positions from now on, ``row · in + column``, strictly ascending. Gradients and
            the last `forward` belong to the old ones and are forgotten. As many as before
            overwrite the arrays of `weight`: whatever shares them changes too.

        Returns
        -------
        ndarray of int64, shape (new nnz,)
            For every new position the old one (an index into the old values) that it
            continues, or -1: what an optimiser's `follow` wants.

        Raises
        ------
        TypeError
            If `positions` is not int64; nothing is changed then.
        ValueError
            If `positions` is not ascending or leaves the matrix; nothing is changed then.
        """
        n_out, n_in = self.weight.shape
        if positions.dtype != np.int64:
            raise TypeError(f"positions must be int64, got {positions.dtype}")
        if positions.ndim != 1 or (positions[1:] <= positions[:-1]).any():
            raise ValueError("positions must be a vector of strictly ascending numbers")
        if len(positions) and not (positions[0] >= 0 and positions[-1] < n_out * n_in):
            raise ValueError(
                f"positions must be 0 to {n_out * n_in - 1}, got {positions[0]} to {positions[-1]}"
            )
        old = self.positions
        source = np.searchsorted(old, positions)
        source[np.append(old, -1)[source] != positions] = -1
        values = np.append(self.weight.data, self.weight.dtype.type(0))[source]  # -1 reads that 0
        indptr = np.searchsorted(positions, np.arange(n_out + 1) * n_in)
        if len(values) == len(old):  # in place, or rewiring would leave holes among what stays
            self.weight.data[:], self.weight.indptr[:] = values, indptr
            self.weight.indices[:] = positions % n_in
        else:
            self.weight = _csr(values, positions % n_in, indptr, self.weight.shape)
        self.params["weight"] = self.weight.data
        self.grads, self._x = {}, None
        return source


def _csr(
    values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> csr_array:
    index_type = np.int32 if max(shape[1], len(values)) <= _INT32_MAX else np.int64
    return csr_array((values, indices.astype(index_type), indptr.astype(index_type)), shape)
