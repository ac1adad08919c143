"""Sparse initialization scales first weights to the connections that a neuron really has.

A sum of k independent terms has k times the mean square of one. A sparse neuron adds up fewer
terms than its layer has inputs. The dense rule, 2 / n_in, counts those that do not exist, and so
leaves only the density d of the mean square in every layer, d^L after L of them. Count what exists:

    E[yᵢ²] = fan_inᵢ · Var(wᵢⱼ) · E[x²]
    He, ReLU        Var(wᵢⱼ) = 2 / fan_inᵢ                  fan_inᵢ: stored in row i
    Glorot, tanh    Var(wᵢⱼ) = 2 / (fan_inᵢ + fan_outⱼ)     fan_outⱼ: stored in column j

At density 1 both are the dense rules. What no scale can mend: a neuron without inputs is its bias,
one without outputs gets no gradient, and one with a single input, never negative, is silent
half of the time.

References
----------
Glorot, X., Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural
    networks. AISTATS.
He, K., Zhang, X., Ren, S., Sun, J. (2015). Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification. ICCV.
Evci, U., Ioannou, Y., Keskin, C., Dauphin, Y. (2022). Gradient flow in sparse neural networks
    and how lottery tickets win. AAAI.
"""

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["sparse_glorot_uniform", "sparse_he_normal"]


def sparse_he_normal(
    indptr: np.ndarray, *, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Draw stored values from normal distributions of variance 2 / fan_in, each row its own.

    Parameters
    ----------
    indptr : ndarray of int, shape (out + 1,)
        Where each row's values start and end, as in CSR; row i has fan-in
        ``indptr[i + 1] - indptr[i]``, which may be 0.
    rng : numpy.random.Generator
        Draws.
    dtype : float32 or float64
        The type of the values.

    Returns
    -------
    ndarray, shape (nnz,)
        The values, row after row.

    Raises
    ------
    TypeError
        If `dtype` is another, or `indptr` does not hold integers.
    ValueError
        If `indptr` does not start at 0, falls, or has no row.
    """
    fan_in = _fan_in(indptr, dtype)
    values = rng.standard_normal(int(indptr[-1]), dtype)  # type: ignore[arg-type]  # one of two
    # An empty row has no value to scale; 1 only keeps the division quiet.
    values *= np.repeat(np.sqrt(2 / np.maximum(fan_in, 1)).astype(dtype), fan_in)
    return values


def sparse_glorot_uniform(
    indptr: np.ndarray,
    indices: np.ndarray,
    n_in: int,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """Draw stored values uniformly from ±√(6 / (fan_in + fan_out)), each connection its own.

    Parameters
    ----------
    indptr : ndarray of int, shape (out + 1,)
        Where each row's values start and end, as in CSR: the fan-ins.
    indices : ndarray of int, shape (nnz,)
        The column of each value; how often column j occurs is the fan-out of input j.
    n_in : int
        How many columns there are, at least 1.
    rng : numpy.random.Generator
        Draws.
    dtype : float32 or float64
        The type of the values; the same draws in both.

    Returns
    -------
    ndarray, shape (nnz,)
        The values, row after row, of variance 2 / (fan_in + fan_out).

    Raises
    ------
    TypeError
        If `dtype` is another, or `indptr` or `indices` does not hold integers.
    ValueError
        If `indptr` does not start at 0, falls, or has no row, `n_in` is below 1, or `indices` has
        another length or a column outside 0 to ``n_in - 1``.
    """
    fan_in = _fan_in(indptr, dtype)
    if n_in < 1:
        raise ValueError(f"n_in must be at least 1, got {n_in}")
    if not np.issubdtype(indices.dtype, np.integer):
        raise TypeError(f"indices must be integers, got {indices.dtype}")
    if indices.shape != (indptr[-1],):
        raise ValueError(f"indices must be ({indptr[-1]},), got {indices.shape}")
    if indices.size and not (indices.min() >= 0 and indices.max() < n_in):
        raise ValueError(f"indices must be 0 to {n_in - 1}, got {indices.min()} to {indices.max()}")
    fan_out = np.bincount(indices)
    bound = np.sqrt(6 / (np.repeat(fan_in, fan_in) + fan_out[indices]))
    return rng.uniform(-bound, bound).astype(dtype)


def _fan_in(indptr: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    if not np.issubdtype(indptr.dtype, np.integer):
        raise TypeError(f"indptr must be integers, got {indptr.dtype}")
    if indptr.ndim != 1 or len(indptr) < 2 or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr must be (out + 1,), out at least 1, and rise from 0")
    return np.diff(indptr).astype(np.intp)  # np.repeat takes no uint64
