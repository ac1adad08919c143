"""An embedding gives every word of a vocabulary a row of numbers that is learned.

A word has no size and no order, so it cannot be a number that is multiplied. As a one-hot vector
(a single 1, at the word's place) it can, and the product with a table picks a row. Reading the
row gives the same without the product:

    y  = onehot(ids) W = W[ids]
    dW = onehot(ids)ᵀ dy               row v: the sum of dy over all places where v stood

W is (vocabulary, dim), so that a row belongs to a word: the transpose of a linear layer's weight.
A word that was not read has a zero gradient, which need not be stored: ``sparse=True``.

References
----------
Bengio, Y., Ducharme, R., Vincent, P., Jauvin, C. (2003). A neural probabilistic language model.
    Journal of Machine Learning Research 3.
Mikolov, T., Chen, K., Corrado, G., Dean, J. (2013). Efficient estimation of word representations
    in vector space. ICLR workshop.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

__all__ = ["Embedding"]


class Embedding:
    """Compute ``y = onehot(ids) W`` by reading rows of W.

    Parameters
    ----------
    weight : ndarray, shape (vocabulary, dim)
        The table, float32 or float64; copied.
    sparse : bool, default False
        Whether `backward` stores the gradient of the rows that were read, and no others.

    Attributes
    ----------
    params : dict
        ``"weight"`` (vocabulary, dim).
    grads : dict
        ``"weight"``, filled by `backward`: an array of that shape, or, with `sparse`, a canonical
        `csr_array` of that shape that holds the rows read.
    sparse : bool
        As given; may be set at any time.

    Raises
    ------
    TypeError
        If `weight` is neither float32 nor float64.
    ValueError
        If `weight` is not a matrix, or empty.
    """

    def __init__(self, weight: np.ndarray, *, sparse: bool = False) -> None:
        if weight.dtype not in (np.float32, np.float64):
            raise TypeError(f"weight must be float32 or float64, got {weight.dtype}")
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(
                f"weight must be (vocabulary, dim), neither of them 0, got {weight.shape}"
            )
        self.params = {"weight": weight.copy()}
        self.grads: dict[str, Any] = {}  # an array, or a csr_array: see sparse
        self.sparse = sparse
        self._ids: np.ndarray | None = None

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """Read a row for each id, and keep the ids for `backward`.

        Parameters
        ----------
        ids : ndarray of int, shape (N,) or (N, T)
            Places in the vocabulary, from 0; one for each sample, or a text of T for each. Kept,
            not copied, so leave them as they are until `backward`.

        Returns
        -------
        ndarray, shape (N, dim) or (N, T, dim)
            The rows, copied.

        Raises
        ------
        TypeError
            If `ids` are not integers.
        ValueError
            If `ids` are none, of another shape, or outside of the vocabulary.
        """
        weight = self.params["weight"]
        if not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"ids must be integers, got {ids.dtype}")
        if ids.ndim not in (1, 2) or ids.size == 0:
            raise ValueError(f"ids must be (N ≥ 1,) or (N ≥ 1, T ≥ 1), got {ids.shape}")
        if ids.min() < 0 or ids.max() >= len(weight):  # NumPy takes -1 for the last row
            raise ValueError(f"ids must be 0 to {len(weight) - 1}, got {ids.min()} to {ids.max()}")
        self._ids = ids
        return weight[ids]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads`; there is no gradient with respect to ids, and NaN says so.

        Parameters
        ----------
        dy : ndarray, shape (N, dim) or (N, T, dim)
            The gradient of the loss with respect to the output of the last `forward`.

        Returns
        -------
        ndarray, shape of the ids, type of the weight
            NaN: between two words there is nothing, so no small change whose effect could be
            measured. An embedding is the first layer of a network; nobody asks.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            If `dy` is not of the weight's type, or not shaped like the last output.
        """
        if self._ids is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        weight, ids = self.params["weight"], self._ids
        if dy.dtype != weight.dtype:
            raise TypeError(f"dy must be {weight.dtype} like the weight, got {dy.dtype}")
        expected = (*ids.shape, weight.shape[1])
        if dy.shape != expected:
            raise ValueError(f"dy must be {expected} like the output, got {dy.shape}")
        self._ids = None
        rows = dy.reshape(-1, weight.shape[1])
        if self.sparse:
            self.grads = {"weight": _stored_rows(ids.ravel(), rows, len(weight))}
        else:
            self.grads = {"weight": _one_hot(ids.ravel(), len(weight), dy.dtype).T @ rows}
        return np.full(ids.shape, np.nan, dy.dtype)


def _one_hot(ids: np.ndarray, size: int, dtype: np.dtype) -> csr_array:
    """Return the matrix (len(ids), size) with a 1 in each row, of which only the ones exist."""
    return csr_array((np.ones(len(ids), dtype), ids, np.arange(len(ids) + 1)), (len(ids), size))


def _stored_rows(ids: np.ndarray, dy: np.ndarray, size: int) -> csr_array:
    """Sum the rows of dy that belong to one id, and store the sums only."""
    seen, place = np.unique(ids, return_inverse=True)
    sums = _one_hot(place, len(seen), dy.dtype).T @ dy
    dim = dy.shape[1]
    index = np.int32 if max(sums.size, dim) <= np.iinfo(np.int32).max else np.int64
    indptr = np.zeros(size + 1, index)
    indptr[seen + 1] = dim
    np.cumsum(indptr, out=indptr)
    columns = np.tile(np.arange(dim, dtype=index), len(seen))
    return csr_array((sums.ravel(), columns, indptr), (size, dim))


def _reference(ids: np.ndarray, dy: np.ndarray, size: int) -> np.ndarray:
    """Compute the gradient in a plain loop: what both ways above have to agree with."""
    gradient = np.zeros((size, dy.shape[-1]), dy.dtype)
    for position in np.ndindex(ids.shape):
        gradient[ids[position]] += dy[position]
    return gradient
