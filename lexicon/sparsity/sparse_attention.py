"""Sparse attention lets a token look at a few chosen others, and computes nothing for the rest.

Attention replaces each token's value by a weighted mean of the values vⱼ of the tokens it may look
at; its query qᵢ and their keys kⱼ decide the weights. All N tokens looking at all N takes N²
scores. Here a pattern lists the pairs (i, j) that exist, nnz of them, and every step is a sparse
product over that list:

    sᵢⱼ = qᵢ · kⱼ / √d     pᵢⱼ = e^sᵢⱼ / Σⱼ e^sᵢⱼ      (i, j) in the pattern      y = P V
    dV = Pᵀ dy             dpᵢⱼ = dyᵢ · vⱼ             (i, j) in the pattern
    dsᵢⱼ = pᵢⱼ (dpᵢⱼ - Σⱼ pᵢⱼ dpᵢⱼ)                    dQ = dS K / √d      dK = dSᵀ Q / √d

The inner products at given pairs are those of `sampled_gradient`; the N × N scores never exist.
Patterns are boolean CSR matrices: ``a + b`` is their union, ``a @ b`` what two layers reach. Left
out: several heads, and patterns chosen by the content of the tokens.

References
----------
Vaswani, A., Shazeer, N., Parmar, N., et al. (2017). Attention is all you need. NeurIPS.
Child, R., Gray, S., Radford, A., Sutskever, I. (2019). Generating long sequences with sparse
    transformers. arXiv:1904.10509.
Beltagy, I., Peters, M., Cohan, A. (2020). Longformer: the long-document transformer.
    arXiv:2004.05150.
Zaheer, M., Guruganesh, G., Dubey, A., et al. (2020). Big Bird: transformers for longer sequences.
    NeurIPS.
"""

from math import sqrt

import numpy as np
from scipy.sparse import csr_array

from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["SparseAttention", "blocks", "local", "strided"]


def local(n: int, window: int, *, causal: bool) -> csr_array:
    """Let every token look at itself and at those at most `window` places away.

    Parameters
    ----------
    n : int
        How many tokens, at least 1.
    window : int
        The largest distance, at least 1.
    causal : bool
        Whether to leave out tokens that come later.

    Returns
    -------
    csr_array of bool, shape (n, n)
        True at the pairs: at most ``window + 1`` in a row, ``2 window + 1`` if not causal.

    Raises
    ------
    ValueError
        If a number is below 1 or not an integer.
    """
    _check(n=n, window=window)
    i = np.arange(n)
    return _pattern(np.maximum(i - window, 0), i + window + 1, 1, causal)


def strided(n: int, stride: int, *, causal: bool) -> csr_array:
    """Let every token look at itself and at every `stride`-th one from there.

    Parameters
    ----------
    n : int
        How many tokens, at least 1.
    stride : int
        The distance from one to the next, at least 1.
    causal : bool
        Whether to leave out tokens that come later.

    Returns
    -------
    csr_array of bool, shape (n, n)
        True at the pairs: at most ``⌈n / stride⌉`` in a row, which grows with n.

    Raises
    ------
    ValueError
        If a number is below 1 or not an integer.
    """
    _check(n=n, stride=stride)
    i = np.arange(n)
    return _pattern(i % stride, np.full(n, n), stride, causal)


def blocks(n: int, size: int, *, causal: bool) -> csr_array:
    """Cut the sequence into blocks, and let every token look at those of its own block.

    Parameters
    ----------
    n : int
        How many tokens, at least 1.
    size : int
        How many tokens a block has, at least 1; the last block may have fewer.
    causal : bool
        Whether to leave out tokens that come later.

    Returns
    -------
    csr_array of bool, shape (n, n)
        True at the pairs: at most `size` in a row.

    Raises
    ------
    ValueError
        If a number is below 1 or not an integer.
    """
    _check(n=n, size=size)
    start = np.arange(n) // size * size
    return _pattern(start, start + size, 1, causal)


class SparseAttention:
    """Attend over the pairs of a pattern, with one head.

    Parameters
    ----------
    pattern : csr_array of bool, shape (N, N)
        Row i lists the tokens that token i looks at, at least one; canonical; copied.

    Attributes
    ----------
    pattern : csr_array of bool, shape (N, N)
        The pairs.
    params, grads : dict
        Empty: a `Linear` before it learns queries, keys and values.

    Raises
    ------
    TypeError
        If `pattern` is not a csr_array of bool.
    ValueError
        If it is not square, not canonical, has a position outside of it, or a token that looks at
        nothing.
    """

    def __init__(self, pattern: csr_array) -> None:
        if not isinstance(pattern, csr_array) or pattern.dtype != np.bool_:
            kind = pattern.dtype if isinstance(pattern, csr_array) else type(pattern).__name__
            raise TypeError(f"pattern must be a csr_array of bool, got {kind}")
        if pattern.ndim != 2 or pattern.shape[0] != pattern.shape[1] or 0 in pattern.shape:
            raise ValueError(f"pattern must be (N ≥ 1, N), got {pattern.shape}")
        indptr, indices = pattern.indptr.copy(), pattern.indices.copy()
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(indptr) - 1):
            raise ValueError(f"pattern must name tokens 0 to {len(indptr) - 2}, and no others")
        self.pattern = csr_array((pattern.data.copy(), indices, indptr), pattern.shape)
        if not self.pattern.has_canonical_format or not pattern.data.all():
            raise ValueError("pattern must be canonical: call its sum_duplicates() first")
        self._starts, self._lengths = indptr[:-1], np.diff(indptr)
        if not self._lengths.all():
            row = int(self._lengths.argmin())
            raise ValueError(f"pattern must let every token look at one, row {row} is empty")
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return each token's weighted mean of the values that it looks at.

        Parameters
        ----------
        x : ndarray, shape (N, 3 d)
            Queries, keys and values side by side, one token a row, float32 or float64; kept, not
            copied, so leave it as it is until `backward`.

        Returns
        -------
        ndarray, shape (N, d)
            ``P V``: 4 · nnz · d FLOPs, with those of the scores.

        Raises
        ------
        TypeError
            If `x` is neither float32 nor float64.
        ValueError
            If the shape does not fit, or a number is NaN or infinite.
        """
        n = self.pattern.shape[0]
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"x must be float32 or float64, got {x.dtype}")
        if x.ndim != 2 or len(x) != n or x.shape[1] == 0 or x.shape[1] % 3:
            raise ValueError(f"x must be ({n}, 3 d), d at least 1, got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("x must be finite")
        q, k, v = np.split(x, 3, axis=1)
        scores = self._products(q, k) / sqrt(v.shape[1])
        scores -= self._spread(np.maximum.reduceat(scores, self._starts))  # e never overflows
        p = np.exp(scores, out=scores)
        p /= self._spread(np.add.reduceat(p, self._starts))
        self._kept = x, p
        return self._matrix(p) @ v

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to queries, keys and values.

        Parameters
        ----------
        dy : ndarray, shape (N, d)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, 3 d)
            Side by side, as in `x`: 8 · nnz · d FLOPs.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the last input.
        ValueError
            If the shape does not fit.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        x, p = self._kept
        q, k, v = np.split(x, 3, axis=1)
        if dy.dtype != x.dtype:
            raise TypeError(f"dy must be {x.dtype} like the input, got {dy.dtype}")
        if dy.shape != v.shape:
            raise ValueError(f"dy must be {v.shape}, got {dy.shape}")
        self._kept = None
        dv = self._matrix(p).T @ dy
        dp = self._products(dy, v)
        dp -= self._spread(np.add.reduceat(p * dp, self._starts))
        ds = self._matrix(p * dp / sqrt(v.shape[1]))
        return np.hstack([ds @ k, ds.T @ q, dv])

    def _products(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return aᵢ · bⱼ for the pairs (i, j) of the pattern, shape (nnz,)."""
        return sampled_gradient(a.T, b.T, self.pattern.indptr, self.pattern.indices)

    def _spread(self, of_rows: np.ndarray) -> np.ndarray:
        """Give every pair its row's number, shape (N,) to (nnz,)."""
        return np.repeat(of_rows, self._lengths)

    def _matrix(self, values: np.ndarray) -> csr_array:
        pattern = self.pattern
        return csr_array((values, pattern.indices, pattern.indptr), pattern.shape)


def _pattern(start: np.ndarray, stop: np.ndarray, step: int, causal: bool) -> csr_array:
    """Let token i look at ``range(start[i], stop[i], step)``, as far as such tokens exist."""
    n = len(start)
    stop = np.minimum(stop, np.arange(1, n + 1) if causal else n)
    lengths = -((start - stop) // step)  # rounded up
    indptr = np.append(0, np.cumsum(lengths))
    index_type = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    indices = np.arange(indptr[-1], dtype=index_type)
    indices -= np.repeat(indptr[:-1].astype(index_type), lengths)  # from 0 within each row
    indices *= index_type(step)
    indices += np.repeat(start.astype(index_type), lengths)
    pairs = np.ones(len(indices), dtype=bool)
    return csr_array((pairs, indices, indptr.astype(index_type)), (n, n))


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {number}")
