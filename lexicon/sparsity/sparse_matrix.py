"""A sparse matrix stores its nonzeros and their positions, and leaves every other zero out.

Leaving zeros out pays only if a position costs less than the zeros it replaces. The formats
differ in how they write positions down, and so in what they find quickly:

    COO   row and column of each value: easy to build
    CSR   values row by row, columns, and where each row starts: y = W x is one sum for each row
    CSC   the same by columns: the CSR of Wᵀ, for no cost at all
    BSR   CSR of small dense blocks: one index for a whole block, zeros inside included

    yᵢ = Σₖ data[k] · x[indices[k]],   k from indptr[i] to indptr[i+1] - 1        y = W x
    xⱼ = Σₖ data[k] · y[row of k],     k with indices[k] = j                      x = Wᵀ y

Written to be read beside `scipy.sparse`, whose arrays have the same parts under the same names.
Left out: changing a matrix, and products of two sparse ones.

References
----------
Tinney, W., Walker, J. (1967). Direct solutions of sparse network equations by optimally ordered
    triangular factorization. Proceedings of the IEEE 55(11).
Saad, Y. (2003). Iterative Methods for Sparse Linear Systems, section 3.4. SIAM.
Virtanen, P., et al. (2020). SciPy 1.0: fundamental algorithms for scientific computing in
    Python. Nature Methods 17.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "COO",
    "CSR",
    "CSC",
    "BSR",
    "to_coo",
    "to_csr",
    "to_csc",
    "to_bsr",
    "csr_product",
    "csr_product_reference",
    "csc_product",
    "stored_bytes",
    "csr_bytes",
    "break_even_density",
]


class COO(NamedTuple):
    """Hold a matrix as coordinates: three vectors, one place in each for every value.

    Parameters
    ----------
    data : ndarray, shape (nnz,)
        The values.
    row, col : ndarray of int32, shape (nnz,)
        Where they stand.
    shape : tuple of int
        (rows, columns).
    """

    data: np.ndarray
    row: np.ndarray
    col: np.ndarray
    shape: tuple[int, int]


class CSR(NamedTuple):
    """Hold a matrix as compressed sparse rows.

    Parameters
    ----------
    data : ndarray, shape (nnz,)
        The values, row after row.
    indices : ndarray of int32, shape (nnz,)
        The column of each value, ascending within a row.
    indptr : ndarray of int32, shape (rows + 1,)
        Row i lies from ``indptr[i]`` up to, but without, ``indptr[i + 1]``.
    shape : tuple of int
        (rows, columns).
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]


class CSC(NamedTuple):
    """Hold a matrix as compressed sparse columns.

    Parameters
    ----------
    data : ndarray, shape (nnz,)
        The values, column after column.
    indices : ndarray of int32, shape (nnz,)
        The row of each value, ascending within a column.
    indptr : ndarray of int32, shape (columns + 1,)
        Column j lies from ``indptr[j]`` up to, but without, ``indptr[j + 1]``.
    shape : tuple of int
        (rows, columns).
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]


class BSR(NamedTuple):
    """Hold a matrix as compressed sparse rows of dense blocks.

    Parameters
    ----------
    data : ndarray, shape (blocks, height, width)
        The blocks that hold a nonzero, block row after block row, their zeros included.
    indices : ndarray of int32, shape (blocks,)
        The block column of each.
    indptr : ndarray of int32, shape (rows / height + 1,)
        Where each block row starts in `indices`, and where the last one ends.
    shape : tuple of int
        (rows, columns).
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]


def to_coo(dense: np.ndarray) -> COO:
    """Write down value, row and column of every nonzero.

    Parameters
    ----------
    dense : ndarray, shape (rows, columns)
        Any type, fewer than 2³¹ numbers.

    Returns
    -------
    COO
        Row after row; a new copy.

    Raises
    ------
    ValueError
        If `dense` is not a matrix, or too large for int32 positions.
    """
    _check_dense(dense)
    row, col = np.nonzero(dense)
    return COO(dense[row, col], row.astype(np.int32), col.astype(np.int32), dense.shape)


def to_csr(dense: np.ndarray) -> CSR:
    """Compress the rows: keep of the row numbers only where each row starts.

    Parameters
    ----------
    dense : ndarray, shape (rows, columns)
        Any type, fewer than 2³¹ numbers.

    Returns
    -------
    CSR
        Canonical: sorted, without duplicates, without stored zeros; a new copy.

    Raises
    ------
    ValueError
        If `dense` is not a matrix, or too large for int32 positions.
    """
    data, row, col, shape = to_coo(dense)
    return CSR(data, col, _starts(row, shape[0]), shape)


def to_csc(dense: np.ndarray) -> CSC:
    """Compress the columns: the CSR of the transpose, read the other way.

    Parameters
    ----------
    dense : ndarray, shape (rows, columns)
        Any type, fewer than 2³¹ numbers.

    Returns
    -------
    CSC
        Canonical: sorted, without duplicates, without stored zeros; a new copy.

    Raises
    ------
    ValueError
        If `dense` is not a matrix, or too large for int32 positions.
    """
    _check_dense(dense)
    data, indices, indptr, _ = to_csr(dense.T)
    return CSC(data, indices, indptr, dense.shape)


def to_bsr(dense: np.ndarray, block: tuple[int, int]) -> BSR:
    """Cut into blocks and keep, whole, those that hold a nonzero.

    Parameters
    ----------
    dense : ndarray, shape (rows, columns)
        Any type, fewer than 2³¹ numbers.
    block : tuple of int
        (height, width), divisors of rows and columns.

    Returns
    -------
    BSR
        Canonical: sorted, without duplicates, without blocks of zeros; a new copy.

    Raises
    ------
    ValueError
        If `dense` is not a matrix or too large for int32 positions, or `block` does not divide it.
    """
    _check_dense(dense)
    height, width = block
    rows, columns = dense.shape
    if min(block) < 1 or rows % height or columns % width:
        raise ValueError(f"block must divide {dense.shape}, got {block}")
    blocks = dense.reshape(rows // height, height, columns // width, width).swapaxes(1, 2)
    _, row, col, _ = to_coo(np.asarray(blocks.any(axis=(2, 3))))
    return BSR(blocks[row, col], col, _starts(row, rows // height), dense.shape)


def csr_product(w: CSR, x: np.ndarray) -> np.ndarray:
    """Compute ``W x``: gather what each value meets, multiply, sum row by row.

    Parameters
    ----------
    w : CSR, shape (rows, columns)
        The matrix.
    x : ndarray, shape (columns,)
        A vector, of the type of the values: floating point.

    Returns
    -------
    ndarray, shape (rows,)
        The product: 2·nnz FLOPs.

    Raises
    ------
    TypeError
        If `w` is not a CSR or not floating point, or `x` not of its type.
    ValueError
        If `x` has another shape.
    """
    _check_vector(x, w, CSR)
    products = w.data * x[w.indices]
    y = np.zeros(w.shape[0], w.data.dtype)
    # reduceat sums from one start to the next, but gives an empty row its successor's first
    # product; so empty rows are left out, and no other row's sum changes by that.
    filled = np.diff(w.indptr) > 0
    y[filled] = np.add.reduceat(products, w.indptr[:-1][filled])
    return y


def csr_product_reference(w: CSR, x: np.ndarray) -> np.ndarray:
    """Compute the same in plain loops.

    Parameters
    ----------
    w : CSR, shape (rows, columns)
        The matrix.
    x : ndarray, shape (columns,)
        A vector, of the type of the values: floating point.

    Returns
    -------
    ndarray, shape (rows,)
        The product.

    Raises
    ------
    TypeError
        If `w` is not a CSR or not floating point, or `x` not of its type.
    ValueError
        If `x` has another shape.
    """
    _check_vector(x, w, CSR)
    y = np.zeros(w.shape[0], w.data.dtype)
    for i in range(w.shape[0]):
        for k in range(w.indptr[i], w.indptr[i + 1]):
            y[i] += w.data[k] * x[w.indices[k]]
    return y


def csc_product(w: CSC, x: np.ndarray) -> np.ndarray:
    """Compute ``W x``: multiply each column by its number in `x`, scatter the results.

    The parts of a CSR matrix W, read as CSC, are those of Wᵀ; so this is also ``Wᵀ y``.

    Parameters
    ----------
    w : CSC, shape (rows, columns)
        The matrix.
    x : ndarray, shape (columns,)
        A vector, of the type of the values: floating point.

    Returns
    -------
    ndarray, shape (rows,)
        The product: 2·nnz FLOPs.

    Raises
    ------
    TypeError
        If `w` is not a CSC or not floating point, or `x` not of its type.
    ValueError
        If `x` has another shape.
    """
    _check_vector(x, w, CSC)
    products = w.data * np.repeat(x, np.diff(w.indptr))
    y = np.zeros(w.shape[0], w.data.dtype)
    np.add.at(y, w.indices, products)  # y[indices] += … would keep one product of each row
    return y


def stored_bytes(matrix: tuple[object, ...]) -> int:
    """Return the bytes of all arrays of a matrix, indices included.

    Parameters
    ----------
    matrix : NamedTuple of arrays and sizes
        The matrix, such as a COO, CSR, CSC or BSR.

    Returns
    -------
    int
        Bytes.
    """
    return sum(part.nbytes for part in matrix if isinstance(part, np.ndarray))


def csr_bytes(nnz: int, rows: int, *, value_bytes: int = 4, index_bytes: int = 4) -> int:
    """Return the bytes of a CSR matrix: ``nnz (value + index) + (rows + 1) index``.

    Parameters
    ----------
    nnz : int
        How many values are stored.
    rows : int
        How many rows it has (for CSC: columns).
    value_bytes, index_bytes : int, default 4
        The size of a value and of an index; 4 is float32 and int32.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        If `nnz` is negative, or another number is below 1.
    """
    _check_at_least(0, nnz=nnz)
    _check_at_least(1, rows=rows, value_bytes=value_bytes, index_bytes=index_bytes)
    return nnz * (value_bytes + index_bytes) + (rows + 1) * index_bytes


def break_even_density(
    shape: tuple[int, int], *, value_bytes: int = 4, index_bytes: int = 4
) -> float:
    """Return the density at which CSR takes as many bytes as a dense array.

    Set ``csr_bytes(d · rows · columns, rows)`` equal to ``rows · columns · value``, solve for d.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns), at least 1 each.
    value_bytes, index_bytes : int, default 4
        The size of a value and of an index; 4 is float32 and int32.

    Returns
    -------
    float
        Below it CSR is smaller. Not above 0 where rows are so short that it never is.

    Raises
    ------
    ValueError
        If a number is below 1.
    """
    rows, columns = shape
    _check_at_least(1, rows=rows, columns=columns)
    _check_at_least(1, value_bytes=value_bytes, index_bytes=index_bytes)
    size = rows * columns
    left = size * value_bytes - (rows + 1) * index_bytes
    return left / (size * (value_bytes + index_bytes))


def _starts(row: np.ndarray, rows: int) -> np.ndarray:
    counts = np.bincount(row, minlength=rows)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _check_dense(dense: np.ndarray) -> None:
    if dense.ndim != 2 or dense.size > np.iinfo(np.int32).max:
        raise ValueError(f"dense must be a matrix of fewer than 2³¹ numbers, got {dense.shape}")


def _check_vector(x: np.ndarray, w: CSR | CSC, kind: type) -> None:
    if not isinstance(w, kind):  # the other one's parts would give the product of the transpose
        raise TypeError(f"w must be {kind.__name__}, got {type(w).__name__}")
    if not np.issubdtype(w.data.dtype, np.floating):
        raise TypeError(f"w must be floating point, got {w.data.dtype}")
    if x.dtype != w.data.dtype:
        raise TypeError(f"x must be {w.data.dtype} like w, got {x.dtype}")
    if x.shape != (w.shape[1],):
        raise ValueError(f"x must be ({w.shape[1]},), got {x.shape}")


def _check_at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
