"""Block sparsity keeps or removes whole tiles of a weight matrix, and multiplies those it keeps.

A single weight costs an index and a look-up of its own. If weights live and die by tiles of r
rows and c columns, one index serves r·c of them, and an input that was fetched serves r outputs.
The price is freedom: a tile keeps its small weights and loses its large ones.

    S_IJ = Σ |wᵢⱼ| over tile (I, J)       keep the best of all tiles, exactly so many
    y_I  = Σ_J W_IJ x_J + b_I             over stored tiles, for one sample
    dx_J = Σ_I W_IJᵀ dy_I                 dW_IJ = Σ dy_I x_Jᵀ, summed over the batch

The tiles of one block row, side by side, are one dense matrix, as are the inputs that they
read: each row is a single dense product, each backward product too. Tiles of different sizes, and
rewiring of tiles, are left out.

References
----------
Gray, S., Radford, A., Kingma, D. (2017). GPU kernels for block-sparse weights. OpenAI.
Narang, S., Undersander, E., Diamos, G. (2017). Block-sparse recurrent neural networks.
    arXiv:1711.02782.
"""

from typing import Self

import numpy as np
from scipy.sparse import bsr_array, csr_array

from lexicon.foundations.linear_layer import check_batch
from lexicon.sparsity.mask import kept, top_k

__all__ = ["BlockLinear", "block_mask", "block_scores"]


def block_scores(scores: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Sum the scores of each tile.

    Parameters
    ----------
    scores : ndarray, shape (out, in)
        What each weight is worth, higher = keep, such as ``|w|``.
    block : tuple of int
        (r, c), rows and columns of a tile: divisors of `out` and `in`.

    Returns
    -------
    ndarray, shape (out / r, in / c)
        One score a tile.

    Raises
    ------
    ValueError
        If `scores` is not a matrix, or `block` does not divide it.
    """
    (r, c), shape = block, scores.shape
    if scores.ndim != 2 or 0 in shape or min(r, c) < 1 or shape[0] % r or shape[1] % c:
        raise ValueError(f"block must divide scores of (out, in), got {block} for {shape}")
    return scores.reshape(shape[0] // r, r, shape[1] // c, c).sum(axis=(1, 3))


def block_mask(scores: np.ndarray, block: tuple[int, int], sparsity: float) -> np.ndarray:
    """Mark the tiles with the largest sums.

    Parameters
    ----------
    scores : ndarray, shape (out, in)
        As `block_scores` takes them; no NaN.
    block : tuple of int
        (r, c), divisors of `out` and `in`.
    sparsity : float
        The share of tiles to leave unmarked, in [0, 1).

    Returns
    -------
    ndarray of bool, shape (out / r, in / c)
        True for exactly ``kept(tiles, sparsity)`` of them; among equals those that come first.

    Raises
    ------
    ValueError
        As `block_scores`; if `sparsity` is out of range or leaves nothing; if a sum is NaN.
    """
    sums = block_scores(scores, block)
    return top_k(sums.ravel(), kept(sums.size, sparsity)).reshape(sums.shape)


class BlockLinear:
    """Compute ``y = x Wᵀ + b`` with a W that consists of dense tiles and of nothing else.

    Parameters
    ----------
    weight : bsr_array, shape (out, in)
        The tiles, float32 or float64, canonical (rows sorted, no tile twice); copied.
    bias : ndarray, shape (out,), optional
        The biases, of the same type; zeros if not given; copied.

    Attributes
    ----------
    weight : bsr_array, shape (out, in)
        The tiles. Every number in them is a connection, and trained, zeros too.
    params, grads : dict
        ``"weight"`` (tiles, r, c), the very array ``weight.data``, and ``"bias"`` (out,).

    Raises
    ------
    TypeError
        If `weight` is not a bsr_array of float32 or float64, or `bias` of another type.
    ValueError
        If `weight` is empty, has duplicate or unsorted tiles or one outside of it, or `bias` does
        not fit it.
    """

    def __init__(self, weight: bsr_array, bias: np.ndarray | None = None) -> None:
        if not isinstance(weight, bsr_array):
            raise TypeError(f"weight must be a bsr_array, got {type(weight).__name__}")
        if weight.dtype not in (np.float32, np.float64):
            raise TypeError(f"weight must be float32 or float64, got {weight.dtype}")
        (n_out, n_in), columns = weight.shape, weight.indices
        if 0 in weight.shape:
            raise ValueError(f"weight must be (out, in), neither of them 0, got {weight.shape}")
        width = n_in // weight.blocksize[1]
        if columns.size and not (columns.min() >= 0 and columns.max() < width):
            raise ValueError(
                f"weight must have block columns 0 to {width - 1}, "
                f"got {columns.min()} to {columns.max()}"
            )
        parts = weight.data.copy(), columns.copy(), weight.indptr.copy()
        stored = bsr_array(parts, shape=weight.shape)
        if not stored.has_canonical_format:
            raise ValueError("weight must be canonical: call its sum_duplicates() first")
        bias = np.zeros(n_out, weight.dtype) if bias is None else bias
        if bias.dtype != weight.dtype:
            raise TypeError(f"bias must be {weight.dtype} like weight, got {bias.dtype}")
        if bias.shape != (n_out,):
            raise ValueError(f"bias must be ({n_out},), got {bias.shape}")
        self.weight = stored
        self.params = {"weight": stored.data, "bias": bias.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self._x: np.ndarray | None = None

    @classmethod
    def from_dense(cls, weight: np.ndarray, tiles: np.ndarray, bias: np.ndarray) -> Self:
        """Store the tiles that a mask marks, and forget the rest.

        Parameters
        ----------
        weight : ndarray, shape (out, in)
            The dense weights.
        tiles : ndarray of bool, shape (out / r, in / c)
            True where a tile stays, as `block_mask` marks them: its shape says how large they are.
        bias : ndarray, shape (out,)
            The biases.

        Returns
        -------
        BlockLinear
            A layer of ``tiles.sum()`` tiles.

        Raises
        ------
        TypeError
            If `tiles` is not bool, or `weight` or `bias` not of one type, float32 or float64.
        ValueError
            If `weight` is not a matrix, `tiles` does not divide it, or `bias` does not fit.
        """
        if tiles.dtype != np.bool_:
            raise TypeError(f"tiles must be bool, got {tiles.dtype}")
        fits = weight.ndim == tiles.ndim == 2 and 0 not in tiles.shape
        if not fits or any(n % k for n, k in zip(weight.shape, tiles.shape, strict=True)):
            raise ValueError(f"tiles must divide weight, got {tiles.shape} for {weight.shape}")
        (rows, columns), (n_out, n_in) = tiles.shape, weight.shape
        every = weight.reshape(rows, n_out // rows, columns, n_in // columns).swapaxes(1, 2)
        where = csr_array(tiles)
        return cls(bsr_array((every[tiles], where.indices, where.indptr), shape=weight.shape), bias)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Multiply each block row by the inputs that it reads, and keep `x` for `backward`.

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
        check_batch("x", x, self.weight.shape[1], self.weight.dtype)
        x_t = np.ascontiguousarray(x.T)
        self._x = x_t.T
        y_t = _product(self.weight, x_t)
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
        check_batch("dy", dy, self.weight.shape[0], self.weight.dtype, samples=len(self._x))
        x_t, self._x = self._x.T, None
        dy_t = np.ascontiguousarray(dy.T)
        self.grads = {"weight": _gradient(self.weight, dy_t, x_t), "bias": dy.sum(axis=0)}
        return _product(self.weight.T, dy_t).T  # the transpose of tiles is made of tiles


def _product(weight: bsr_array, x_t: np.ndarray) -> np.ndarray:
    """Compute ``W xᵀ``: for each block row one dense product, its tiles side by side."""
    r, c = weight.blocksize
    x_tiles = x_t.reshape(-1, c, x_t.shape[1])
    y_t = np.empty((weight.shape[0], x_t.shape[1]), x_t.dtype)
    for row in range(len(weight.indptr) - 1):
        stored = slice(weight.indptr[row], weight.indptr[row + 1])
        tiles = weight.data[stored].swapaxes(0, 1).reshape(r, -1)
        inputs = x_tiles[weight.indices[stored]].reshape(-1, x_t.shape[1])
        np.matmul(tiles, inputs, out=y_t[row * r : (row + 1) * r])
    return y_t


def _gradient(weight: bsr_array, dy_t: np.ndarray, x_t: np.ndarray) -> np.ndarray:
    """Compute the gradient of each stored tile: for each block row one dense product."""
    r, c = weight.blocksize
    x_tiles = x_t.reshape(-1, c, x_t.shape[1])
    gradient = np.empty_like(weight.data)
    for row in range(len(weight.indptr) - 1):
        stored = slice(weight.indptr[row], weight.indptr[row + 1])
        inputs = x_tiles[weight.indices[stored]].reshape(-1, x_t.shape[1])
        together = dy_t[row * r : (row + 1) * r] @ inputs.T
        gradient[stored] = together.reshape(r, -1, c).swapaxes(0, 1)
    return gradient
