"""N:M sparsity keeps exactly n of every m consecutive inputs of a neuron: 2:4 keeps half.

Zeros that stand anywhere have to be looked up anywhere. Here the inputs of each neuron are cut into
groups of m, and every group keeps its n best, so all groups cost the same and a position within
one takes ⌈log₂ m⌉ bits. With values V and positions P, both (out, in / m, n), for one sample:

    yᵢ     = Σ_g Σ_s V_igs x[m g + P_igs] + bᵢ
    dV_igs = Σ dyᵢ x[m g + P_igs]                  over the batch
    dxⱼ    = Σ dyᵢ V_igs, m g + P_igs = j          how many neurons keep input j is not fixed

The layer holds values and packed positions, and unpacks 128 rows at a time into columns while it
multiplies. NumPy has no sparse tensor core: that saves bytes and FLOPs, and time is that of a CSR
product. Masks that change while training, or fit the transpose too, are left out.

References
----------
Mishra, A., et al. (2021). Accelerating sparse deep neural networks. arXiv:2104.08378.
Zhou, A., et al. (2021). Learning N:M fine-grained structured sparse neural networks from scratch.
    ICLR.
Hubara, I., et al. (2021). Accelerated sparse neural training: a provable and efficient method to
    find N:M transposable masks. NeurIPS.
"""

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.linear_layer import check_batch
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["NMLinear", "NMWeight", "n_m_mask", "pack_n_m", "unpack_n_m"]

_ROWS = 128  # unpacked at a time: as many as the blocked gradient multiplies in full


class NMWeight(NamedTuple):
    """Hold a matrix of which every group of m consecutive columns stores n.

    Parameters
    ----------
    values : ndarray, shape (out, in / m, n)
        What each group of each row keeps.
    positions : ndarray of uint8, shape (out, ⌈in / m · n · b / 8⌉)
        Where within its group each value stands, 0 to m - 1, ascending: b = ⌈log₂ m⌉ bits each,
        one after the other, highest bit first; every row begins with a new byte.
    m : int
        Columns in a group, 2 to 256.
    """

    values: np.ndarray
    positions: np.ndarray
    m: int


def n_m_mask(scores: np.ndarray, n: int, m: int) -> np.ndarray:
    """Mark the n largest scores of every m consecutive ones along the last axis.

    Parameters
    ----------
    scores : ndarray, shape (..., in)
        What each weight is worth, such as ``|w|``; no NaN; `in` a multiple of m.
    n, m : int
        How many of how many to keep, 1 ≤ n ≤ m, m from 2 to 256.

    Returns
    -------
    ndarray of bool, same shape
        True at exactly n places of every group; among equals, those that come first.

    Raises
    ------
    ValueError
        If n or m is out of range, m does not divide the last axis, or a score is NaN.
    """
    _check_group(scores, m, "scores")
    if not 1 <= n <= m:
        raise ValueError(f"n must be 1 to {m}, got {n}")
    groups = scores.reshape(*scores.shape[:-1], scores.shape[-1] // m, m)
    return top_k(groups, n).reshape(scores.shape)


def pack_n_m(weight: np.ndarray, mask: np.ndarray, m: int) -> NMWeight:
    """Store what an n:m mask marks: the values, and a few bits for where each stands.

    Parameters
    ----------
    weight : ndarray, shape (out, in)
        The weights, float32 or float64; not changed.
    mask : ndarray of bool, shape (out, in)
        True at equally many places of every group of m along a row, at least one.
    m : int
        The size of a group, a divisor of `in`, 2 to 256.

    Returns
    -------
    NMWeight
        A copy of the marked values, zeros among them too.

    Raises
    ------
    TypeError
        If `mask` is not bool, or `weight` neither float32 nor float64.
    ValueError
        If a shape does not fit, `m` is out of range, or groups keep different numbers or none.
    """
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if weight.ndim != 2 or mask.shape != weight.shape or 0 in weight.shape:
        raise ValueError(f"weight and mask must be (out, in), got {weight.shape} and {mask.shape}")
    _check_group(mask, m, "mask")
    there = mask.reshape(len(mask), -1, m)
    counts = there.sum(axis=2)
    n = int(counts.max())
    if n == 0 or counts.min() != n:
        raise ValueError(
            f"mask must keep equally many of every {m} along a row, at least one, "
            f"got {counts.min()} to {n}"
        )
    within = np.nonzero(there)[2].astype(np.uint8)
    bits = np.unpackbits(within[:, None], axis=1)[:, 8 - _bits(m) :]
    positions = np.packbits(bits.reshape(len(mask), -1), axis=1)
    packed = NMWeight(weight[mask].reshape(*counts.shape, n), positions, m)
    _check_packed(packed)
    return packed


def unpack_n_m(packed: NMWeight) -> np.ndarray:
    """Put the values back where they stood, and zeros elsewhere.

    Parameters
    ----------
    packed : NMWeight
        What `pack_n_m` made.

    Returns
    -------
    ndarray, shape (out, in)
        The dense matrix.

    Raises
    ------
    TypeError, ValueError
        As `NMLinear`.
    """
    _check_packed(packed)
    return np.concatenate([part.toarray() for _, part in _parts(packed)])


class NMLinear:
    """Compute ``y = x Wᵀ + b`` with an n:m sparse W, held as values and packed positions.

    Parameters
    ----------
    weight : NMWeight
        What `pack_n_m` made, float32 or float64; copied.
    bias : ndarray, shape (out,), optional
        The biases, of the same type; zeros if not given; copied.

    Attributes
    ----------
    weight : NMWeight
        The connections.
    params, grads : dict
        ``"weight"`` (out, in / m, n), the very array ``weight.values``, and ``"bias"`` (out,).

    Raises
    ------
    TypeError
        If the values are not float32 or float64, or `bias` is of another type.
    ValueError
        If a shape does not fit, or positions are not ascending within their group.
    """

    def __init__(self, weight: NMWeight, bias: np.ndarray | None = None) -> None:
        _check_packed(weight)
        values, positions, m = weight
        bias = np.zeros(len(values), values.dtype) if bias is None else bias
        if bias.dtype != values.dtype:
            raise TypeError(f"bias must be {values.dtype} like weight, got {bias.dtype}")
        if bias.shape != (len(values),):
            raise ValueError(f"bias must be ({len(values)},), got {bias.shape}")
        self.weight = NMWeight(values.copy(), positions.copy(), m)
        self.params = {"weight": self.weight.values, "bias": bias.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self._x: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Multiply the stored values only, and keep `x` for `backward`.

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
        values, _, m = self.weight
        check_batch("x", x, values.shape[1] * m, values.dtype)
        x_t = np.ascontiguousarray(x.T)
        self._x = x_t.T
        y_t = np.empty((len(values), len(x)), x.dtype)
        for rows, weight in _parts(self.weight):
            y_t[rows] = weight @ x_t
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
        values = self.weight.values
        check_batch("dy", dy, len(values), values.dtype, samples=len(self._x))
        x, self._x = self._x, None
        dy_t = np.ascontiguousarray(dy.T)
        gradient, dx_t = np.empty_like(values), np.zeros(x.T.shape, x.dtype)
        for rows, weight in _parts(self.weight):
            stored = sampled_gradient(dy_t[rows].T, x, weight.indptr, weight.indices)
            gradient[rows] = stored.reshape(values[rows].shape)
            # The transpose has no groups of its own: its product scatters, as in any CSR matrix.
            dx_t += weight.T @ dy_t[rows]
        self.grads = {"weight": gradient, "bias": dy.sum(axis=0)}
        return dx_t.T


def _parts(weight: NMWeight) -> Iterator[tuple[slice, csr_array]]:
    """Go through the rows, 128 at a time, each time as compressed sparse rows."""
    (values, positions, m), (n_out, groups, n) = weight, weight.values.shape
    b, firsts = _bits(m), np.arange(0, groups * m, m)[:, None]
    for start in range(0, n_out, _ROWS):
        rows = slice(start, min(start + _ROWS, n_out))
        bits = np.unpackbits(positions[rows], axis=1, count=groups * n * b)
        within = np.packbits(bits.reshape(-1, groups, n, b), axis=3)[..., 0] >> (8 - b)
        columns = (firsts + within).ravel()
        starts = np.arange(0, columns.size + 1, groups * n)
        yield rows, csr_array((values[rows].ravel(), columns, starts), (len(within), groups * m))


def _bits(m: int) -> int:
    return (m - 1).bit_length()


def _check_group(array: np.ndarray, m: int, name: str) -> None:
    if not 2 <= m <= 256:
        raise ValueError(f"m must be 2 to 256, got {m}")
    if array.ndim == 0 or array.shape[-1] % m:
        raise ValueError(f"m must divide the last axis of {name}, got {m} for {array.shape}")


def _check_packed(weight: NMWeight) -> None:
    values, positions, m = weight
    if values.dtype not in (np.float32, np.float64):
        raise TypeError(f"weight must be float32 or float64, got {values.dtype}")
    if values.ndim != 3 or 0 in values.shape or not max(values.shape[2], 2) <= m <= 256:
        raise ValueError(f"weight must hold (out, in / {m}, n ≤ {m}) values, got {values.shape}")
    n_out, groups, n = values.shape
    width = ceil(groups * n * _bits(m) / 8)
    if positions.dtype != np.uint8 or positions.shape != (n_out, width):
        got = f"{positions.dtype} {positions.shape}"
        raise ValueError(f"weight must hold uint8 ({n_out}, {width}) positions, got {got}")
    group = np.repeat(np.arange(groups), n)
    for _, part in _parts(weight):
        columns = part.indices.reshape(-1, groups * n)
        if (columns // m != group).any() or (np.diff(columns) <= 0).any():
            raise ValueError(f"weight must hold ascending positions below {m} in every group")
