"""Sparse storage writes the nonzeros and their positions in few bytes, in memory or in a file.

The values cost the same in every format; what differs is how the positions are written. Bits for
each position of the matrix, zeros included, at density d and with float32 values:

    dense      32
    CSR        64 d                      an int32 column beside each value, and row starts
    gaps       40 d / (1 - (1 - d)²⁵⁶)   the zeros skipped before each value, in 8 bits
    bit mask   32 d + 1                  one bit for each position
    floor      32 d + H(d)               H(d) = -d log₂ d - (1 - d) log₂ (1 - d)

H(d) is the entropy of a random pattern: no way to write such positions needs fewer bits on average.
Packed matrices are for keeping and sending; to multiply, unpack them. Shared values (a codebook)
and Huffman codes, the other two thirds of Deep Compression, are left out.

References
----------
Shannon, C. (1948). A mathematical theory of communication. Bell System Technical Journal 27.
Han, S., Mao, H., Dally, W. (2016). Deep compression: compressing deep neural networks with
    pruning, trained quantization and Huffman coding. ICLR.
"""

from collections.abc import Mapping
from io import BytesIO
from math import ceil, expm1, log, log1p, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.sparse import csr_array
from scipy.special import entr

__all__ = [
    "Bitmask",
    "Gaps",
    "bits_per_position",
    "disk_bytes",
    "pack_bitmask",
    "pack_gaps",
    "unpack_bitmask",
    "unpack_gaps",
]

_GAP_TYPES = (np.uint8, np.uint16, np.uint32)


class Bitmask(NamedTuple):
    """Hold an array as its nonzeros and one bit for each position.

    Parameters
    ----------
    values : ndarray, shape (nnz,)
        The nonzeros, in the order of their positions.
    bits : ndarray of uint8, shape (⌈size / 8⌉,)
        Bit 1 where a value stands, eight positions a byte, the first one highest.
    shape : tuple of int
        The array's shape.
    """

    values: np.ndarray
    bits: np.ndarray
    shape: tuple[int, ...]


class Gaps(NamedTuple):
    """Hold a matrix as values and the zeros between them, counted row after row.

    Parameters
    ----------
    values : ndarray, shape (nnz + fillers,)
        The nonzeros in the order of their positions; a 0 is a filler.
    gaps : ndarray of uint8, uint16 or uint32, shape (nnz + fillers,)
        How many positions lie between each value and the one before it; before the first value,
        those before it.
    shape : tuple of int
        (rows, columns).
    """

    values: np.ndarray
    gaps: np.ndarray
    shape: tuple[int, int]


def pack_bitmask(dense: np.ndarray) -> Bitmask:
    """Keep the nonzeros, and one bit for each position.

    Parameters
    ----------
    dense : ndarray, any shape
        Numbers of any type.

    Returns
    -------
    Bitmask
        ``nnz · value + ⌈size / 8⌉`` bytes, of which `unpack_bitmask` makes an equal array (-0.0
        comes back as 0.0).

    Raises
    ------
    TypeError
        If `dense` does not hold numbers.
    """
    if not np.issubdtype(dense.dtype, np.number):
        raise TypeError(f"dense must hold numbers, got {dense.dtype}")
    there = dense != 0
    return Bitmask(dense[there], np.packbits(there), dense.shape)


def unpack_bitmask(packed: Bitmask) -> np.ndarray:
    """Put the values back where the bits are 1, and zeros elsewhere.

    Parameters
    ----------
    packed : Bitmask
        What `pack_bitmask` made.

    Returns
    -------
    ndarray, shape ``packed.shape``
        The dense array.

    Raises
    ------
    ValueError
        If `packed` has another number of bits than its shape, or of values than ones.
    """
    values, bits, shape = packed
    size = prod(shape)
    if bits.shape != (ceil(size / 8),):
        raise ValueError(f"packed must have {ceil(size / 8)} bytes of bits, got {bits.shape}")
    there = np.unpackbits(bits, count=size).view(np.bool_)
    if values.shape != (there.sum(),):
        raise ValueError(f"packed must have {there.sum()} values, got {values.shape}")
    dense = np.zeros(size, values.dtype)
    dense[there] = values
    return dense.reshape(shape)


def pack_gaps(weight: csr_array, *, gap_type: DTypeLike = np.uint8) -> Gaps:
    """Write each position as the number of zeros since the last value.

    Positions are numbered row after row, over the end of a row. The largest gap g of the type
    reaches g + 1 positions on; where the next value is further away, a filler, value 0 with gap
    g, takes that step, as often as necessary.

    Parameters
    ----------
    weight : csr_array, shape (rows, columns)
        The matrix, canonical, without stored zeros: those would read as fillers.
    gap_type : uint8, uint16 or uint32, default uint8
        The type of the gaps.

    Returns
    -------
    Gaps
        ``(nnz + fillers) (value + gap)`` bytes, of which `unpack_gaps` makes the same matrix.

    Raises
    ------
    TypeError
        If `weight` is not a csr_array, or `gap_type` another type.
    ValueError
        If `weight` is not a canonical matrix, stores a zero, or has 2⁶³ positions or more.
    """
    if not isinstance(weight, csr_array):
        raise TypeError(f"weight must be a csr_array, got {type(weight).__name__}")
    if np.dtype(gap_type) not in _GAP_TYPES:
        raise TypeError(f"gap_type must be uint8, uint16 or uint32, got {np.dtype(gap_type)}")
    if weight.ndim != 2 or not weight.has_canonical_format:
        raise ValueError("weight must be a canonical matrix: call its sum_duplicates() first")
    if (weight.data == 0).any():
        raise ValueError("weight must not store zeros: call its eliminate_zeros() first")
    if prod(weight.shape) > np.iinfo(np.int64).max:  # positions would come back at others
        raise ValueError(f"weight must have fewer than 2⁶³ positions, got {weight.shape}")
    row = np.repeat(np.arange(weight.shape[0], dtype=np.int64), np.diff(weight.indptr))
    zeros = np.diff(row * weight.shape[1] + weight.indices, prepend=-1) - 1
    largest = int(np.iinfo(gap_type).max)
    fillers, rest = np.divmod(zeros, largest + 1)
    last = np.cumsum(fillers + 1) - 1  # where each value goes, after its fillers
    values = np.zeros(len(zeros) + fillers.sum(), weight.dtype)
    gaps = np.full(len(values), largest, gap_type)
    values[last], gaps[last] = weight.data, rest
    return Gaps(values, gaps, weight.shape)


def unpack_gaps(packed: Gaps) -> csr_array:
    """Add up the gaps to positions, and drop the fillers.

    Parameters
    ----------
    packed : Gaps
        What `pack_gaps` made. A filler that was lost cannot be noticed: all that follows moves.

    Returns
    -------
    csr_array, shape ``packed.shape``
        The matrix, canonical, with int32 positions as long as those suffice.

    Raises
    ------
    ValueError
        If `packed` has another number of gaps than of values, or leaves the matrix.
    """
    values, gaps, shape = packed
    if values.ndim != 1 or values.shape != gaps.shape:
        raise ValueError(
            f"packed must have as many gaps as values, got {gaps.shape} and {values.shape}"
        )
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if len(positions) and positions[-1] >= prod(shape):
        raise ValueError(f"packed must end before position {prod(shape)}, got {positions[-1]}")
    there = values != 0
    row, column = np.divmod(positions[there], shape[1])
    indptr = np.searchsorted(row, np.arange(shape[0] + 1))
    index = np.int32 if max(shape[1], len(row)) <= np.iinfo(np.int32).max else np.int64
    return csr_array((values[there], column.astype(index), indptr.astype(index)), shape)


def bits_per_position(
    density: float, *, value_bits: int = 32, index_bits: int = 32, gap_bits: int = 8
) -> dict[str, float]:
    """Compute how many bits each format takes, divided by all positions of the matrix.

    Positions are taken to be random, which decides the number of fillers; row starts, shapes and
    file headers are not counted.

    Parameters
    ----------
    density : float
        The share of nonzeros, in (0, 1].
    value_bits, index_bits, gap_bits : int
        The size of a value, of a column index and of a gap, at least 1.

    Returns
    -------
    dict of str to float
        Bits for ``"dense"``, ``"CSR"``, ``"gaps"``, ``"bit mask"`` and ``"floor"``, the entropy.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], got {density}")
    for name, bits in (("value", value_bits), ("index", index_bits), ("gap", gap_bits)):
        if bits < 1:
            raise ValueError(f"{name}_bits must be at least 1, got {bits}")
    # All of the next 2^gap_bits positions are zeros: then a filler is needed, and again from there.
    within_reach = -expm1(2**gap_bits * log1p(-density)) if density < 1 else 1
    entropy = float(entr(density) + entr(1 - density)) / log(2)
    return {
        "dense": float(value_bits),
        "CSR": density * (value_bits + index_bits),
        "gaps": density * (value_bits + gap_bits) / within_reach,
        "bit mask": density * value_bits + 1,
        "floor": density * value_bits + entropy,
    }


def disk_bytes(arrays: Mapping[str, ArrayLike], *, compressed: bool) -> int:
    """Write arrays into an .npz file in memory, and return its length.

    Parameters
    ----------
    arrays : mapping of str to array_like
        What to write, under which names; for a packed matrix its ``_asdict()``. NumPy's own
        ``file`` and ``allow_pickle`` are taken.
    compressed : bool
        Whether to zip each array (DEFLATE), or to store it as it is.

    Returns
    -------
    int
        Bytes of the file, with all headers: about 200 for each array. Zipped, a few per cent more
        or less with another zlib.

    Raises
    ------
    ValueError
        If `arrays` is empty, or uses a name that is taken.
    """
    if not arrays or not {"file", "allow_pickle"}.isdisjoint(arrays):
        raise ValueError(
            f"arrays must hold at least one array, none called file or allow_pickle, "
            f"got {list(arrays)}"
        )
    buffer = BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    return buffer.getbuffer().nbytes
