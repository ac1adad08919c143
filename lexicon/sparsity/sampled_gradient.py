"""A sampled gradient computes a weight gradient at the stored positions only.

The gradient of a linear layer, dW = dyᵀ x, is dense even when W is not; building it first costs
all the memory just saved. But each of its entries is one inner product over the batch, and only
those at stored positions (i, j) are wanted (the sampled dense-dense product, SDDMM):

    dWᵢⱼ = Σₙ dyₙᵢ xₙⱼ      for (i, j) stored

Gathered: fetch the two vectors of every stored position and multiply, 2·N·nnz FLOPs, slow ones
that wait for memory; by row, where all rows hold equally many, the vector of dy is fetched once
a row. Blocked: multiply some rows of dW in full, with fast FLOPs, keep what is stored, go on;
2·N·out·in in all. Few connections favour the first, many the last: `fastest` decides.

References
----------
Nisa, I., Sukumaran-Rajam, A., Kurt, S., Hong, C., Sadayappan, P. (2018). Sampled dense matrix
    multiplication for high-performance machine learning. HiPC.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["blocked", "fastest", "gathered", "gathered_by_row", "sampled_gradient"]

# Gathered vectors of one chunk should stay in the second-level cache; a block of rows should be
# tall enough for the matrix product to be fast.
_CHUNK = 1024
_BLOCK = 128
# The densities at which blocks and gathering take equally long: `lexicon bench gradient`.
_CROSSING = 0.08
_CROSSING_BY_ROW = 0.14


def sampled_gradient(
    dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """Compute ``dyᵀ x`` at the stored positions, in the way that suits their density.

    Parameters
    ----------
    dy : ndarray, shape (N, out)
        The gradient of the loss with respect to a layer's output, N at least 1.
    x : ndarray, shape (N, in)
        That layer's input, of the same type.
    indptr : ndarray of int, shape (out + 1,)
        Where each row's positions start and end in `indices`, as in CSR.
    indices : ndarray of int, shape (nnz,)
        The columns of the stored positions, row after row.

    Returns
    -------
    ndarray, shape (nnz,)
        The gradient of each stored value, by the way that `fastest` names.

    Raises
    ------
    TypeError
        If `dy` and `x` are not of one floating-point type, or the positions not integers.
    ValueError
        If the shapes do not fit each other, or a position lies outside the matrix.
    """
    _check(dy, x, indptr, indices)
    return fastest((dy.shape[1], x.shape[1]), indptr)(dy, x, indptr, indices)


def fastest(shape: tuple[int, int], indptr: np.ndarray) -> Callable[..., np.ndarray]:
    """Choose the way that suits the density.

    Parameters
    ----------
    shape : tuple of int
        (out, in).
    indptr : ndarray of int, shape (out + 1,)
        Where each row's positions start and end, as in CSR.

    Returns
    -------
    callable
        `blocked` above a density of 8 %, else `gathered`; where all rows hold equally many,
        `blocked` above 14 %, else `gathered_by_row`.
    """
    density = int(indptr[-1]) / max(shape[0] * shape[1], 1)
    if _per_row(indptr):
        return blocked if density > _CROSSING_BY_ROW else gathered_by_row
    return blocked if density > _CROSSING else gathered


def gathered(dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Compute the same, one inner product for each stored position.

    Beyond the result this needs one row number for each position, the vectors of one chunk, and
    a copy of `dy` and `x` where they are not the transpose of a C-ordered array already.

    Parameters
    ----------
    dy, x, indptr, indices : ndarray
        As `sampled_gradient` takes them, and refused for the same reasons.

    Returns
    -------
    ndarray, shape (nnz,)
        The gradient of each stored value.
    """
    _check(dy, x, indptr, indices)
    # One contiguous vector a neuron; a view where the layer before handed on a transpose.
    dy_t, x_t = np.ascontiguousarray(dy.T), np.ascontiguousarray(x.T)
    lengths = np.diff(indptr).astype(np.intp)
    rows = np.repeat(np.arange(len(dy_t), dtype=np.min_scalar_type(len(dy_t))), lengths)
    gradient = np.empty(len(indices), dy.dtype)
    # One pair of buffers for all chunks: memory fresh from the system costs more than the products.
    of_dy, of_x = np.empty((2, min(_CHUNK, len(indices)), len(dy)), dy.dtype)
    for start in range(0, len(indices), _CHUNK):
        part = gradient[start : start + _CHUNK]
        chunk = slice(start, start + len(part))
        np.vecdot(
            dy_t.take(rows[chunk], axis=0, out=of_dy[: len(part)], mode="clip"),
            x_t.take(indices[chunk], axis=0, out=of_x[: len(part)], mode="clip"),
            out=part,
        )  # the positions were checked: nothing is clipped
    return gradient


def gathered_by_row(
    dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """Compute the same where every row holds k positions: one (k, N) product for each row.

    Beyond the result this needs the vectors of `x` of one chunk, one whole row at least, and the
    copies that `gathered` needs.

    Parameters
    ----------
    dy, x, indptr, indices : ndarray
        As `sampled_gradient` takes them, and refused for the same reasons.

    Returns
    -------
    ndarray, shape (nnz,)
        The gradient of each stored value.

    Raises
    ------
    ValueError
        Also if the rows do not hold equally many positions, at least one.
    """
    _check(dy, x, indptr, indices)
    k = _per_row(indptr)
    if k == 0:
        raise ValueError("indptr must give every row equally many positions, at least one")
    dy_t, x_t = np.ascontiguousarray(dy.T), np.ascontiguousarray(x.T)
    columns = indices.reshape(-1, k)
    gradient = np.empty(columns.shape, dy.dtype)
    step = max(_CHUNK // k, 1)
    inputs = np.empty((min(step, len(columns)), k, len(dy)), dy.dtype)
    for start in range(0, len(columns), step):
        part = gradient[start : start + step]
        rows = slice(start, start + len(part))
        np.matmul(
            x_t.take(columns[rows], axis=0, out=inputs[: len(part)], mode="clip"),
            dy_t[rows, :, None],
            out=part[:, :, None],
        )
    return gradient.ravel()


def blocked(dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Compute the same, a few rows of the dense gradient at a time.

    Beyond the result this needs those rows, 128 · in numbers, and their stored positions.

    Parameters
    ----------
    dy, x, indptr, indices : ndarray
        As `sampled_gradient` takes them, and refused for the same reasons.

    Returns
    -------
    ndarray, shape (nnz,)
        The gradient of each stored value.
    """
    _check(dy, x, indptr, indices)
    gradient = np.empty(len(indices), dy.dtype)
    n_out, n_in = dy.shape[1], x.shape[1]
    buffer = np.empty((min(_BLOCK, n_out), n_in), dy.dtype)
    for start in range(0, n_out, _BLOCK):
        stop = min(start + _BLOCK, n_out)
        block = np.matmul(dy[:, start:stop].T, x, out=buffer[: stop - start])
        lengths = np.diff(indptr[start : stop + 1]).astype(np.intp)
        stored = slice(indptr[start], indptr[stop])
        places = np.repeat(np.arange(stop - start) * n_in, lengths)
        places += indices[stored].astype(np.intp)
        block.ravel().take(places, out=gradient[stored], mode="clip")
    return gradient


def _per_row(indptr: np.ndarray) -> int:
    """Return how many positions each row holds, or 0 if their numbers differ."""
    lengths = np.diff(indptr)
    return int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else 0


def _reference(
    dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """Compute the same in plain loops: what the ways above have to agree with."""
    gradient = np.zeros(len(indices), dy.dtype)
    for i in range(dy.shape[1]):
        for position in range(indptr[i], indptr[i + 1]):
            j = indices[position]
            for n in range(len(x)):
                gradient[position] += dy[n, i] * x[n, j]
    return gradient


def _check(dy: np.ndarray, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray) -> None:
    if dy.dtype != x.dtype or not np.issubdtype(dy.dtype, np.floating):
        raise TypeError(f"dy and x must be of one floating type, got {dy.dtype} and {x.dtype}")
    if not all(np.issubdtype(positions.dtype, np.integer) for positions in (indptr, indices)):
        raise TypeError(
            f"indptr and indices must be integers, got {indptr.dtype} and {indices.dtype}"
        )
    if dy.ndim != 2 or x.ndim != 2 or len(dy) != len(x) or len(dy) == 0:
        raise ValueError(f"dy and x must be (N ≥ 1, out) and (N, in), got {dy.shape} and {x.shape}")
    if indices.ndim != 1:
        raise ValueError(f"indices must be (nnz,), got {indices.shape}")
    if indptr.shape != (dy.shape[1] + 1,) or indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(
            f"indptr must be ({dy.shape[1] + 1},), from 0 to {len(indices)}, got {indptr.shape}"
        )
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr must never descend")
    if len(indices) and not (indices.min() >= 0 and indices.max() < x.shape[1]):
        raise ValueError(
            f"indices must be 0 to {x.shape[1] - 1}, got {indices.min()} to {indices.max()}"
        )
