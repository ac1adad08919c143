"""A convolution slides a small window of weights over an image and asks at every place the same.

A linear layer learns every pixel anew. A filter has one weight for each pixel of its window and
each channel, and uses them at all places; so a shifted image gives a shifted answer. With x padded
by rings of zeros, u and v running over the window and c over the channels:

    yₙₒᵢⱼ = bₒ + Σ W_ocuv x_nc(i+u)(j+v)
    dW_ocuv = Σ dyₙₒᵢⱼ x_nc(i+u)(j+v)      dbₒ = Σ dyₙₒᵢⱼ
    dx_ncpq = Σ W_ocuv dy_no(p-u)(q-v)

Every window becomes a row of a matrix (im2col), and all sums one matrix product. Mathematics calls
this a correlation; convolution proper flips the window, which weights that are learned do not
notice. Stride, dilation and groups are left out.

References
----------
LeCun, Y., Boser, B., Denker, J., Henderson, D., Howard, R., Hubbard, W., Jackel, L. (1989).
    Backpropagation applied to handwritten zip code recognition. Neural Computation 1(4).
LeCun, Y., Bottou, L., Bengio, Y., Haffner, P. (1998). Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86(11).
Chellapilla, K., Puri, S., Simard, P. (2006). High performance convolutional neural networks for
    document processing. International Workshop on Frontiers in Handwriting Recognition.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["Convolution", "Reshape"]


class Convolution:
    """Compute one map of answers for each filter, on a batch of images.

    Parameters
    ----------
    weight : ndarray, shape (out, in, height, width)
        One window of weights for each filter and each channel of the input, floating point; copied.
    bias : ndarray, shape (out,), optional
        One bias for each filter, of the same type; zeros if not given; copied.
    padding : int, default 0
        How many rings of zeros to lay around the image. 0 answers only where the whole window
        fits; (side - 1) / 2 of a window with an odd side keeps the image's size.

    Attributes
    ----------
    params, grads : dict
        ``"weight"`` (out, in, height, width) and ``"bias"`` (out,); `grads` is filled by
        `backward`.

    Raises
    ------
    TypeError
        If `weight` or `bias` is not floating point, or their types differ.
    ValueError
        If a shape does not fit, or `padding` is below 0.
    """

    def __init__(
        self, weight: np.ndarray, bias: np.ndarray | None = None, *, padding: int = 0
    ) -> None:
        if not np.issubdtype(weight.dtype, np.floating):
            raise TypeError(f"weight must be floating point, got {weight.dtype}")
        if weight.ndim != 4 or 0 in weight.shape:
            raise ValueError(
                f"weight must be (out, in, height, width), none of them 0, got {weight.shape}"
            )
        if bias is None:
            bias = np.zeros(len(weight), weight.dtype)
        if bias.dtype != weight.dtype:
            raise TypeError(f"bias must be {weight.dtype} like weight, got {bias.dtype}")
        if bias.shape != (len(weight),):
            raise ValueError(f"bias must be ({len(weight)},), got {bias.shape}")
        if padding < 0:
            raise ValueError(f"padding must be at least 0, got {padding}")
        self.padding = padding
        self.params = {"weight": weight.copy(), "bias": bias.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self._x: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Lay every filter on every place, and keep `x` for `backward`.

        Parameters
        ----------
        x : ndarray, shape (N, in, rows, columns)
            A batch of N ≥ 1 images, of the type of the weights, padded at least as large as the
            window; kept, not copied, so leave it as it is until `backward`.

        Returns
        -------
        ndarray, shape (N, out, rows + 2 padding - height + 1, columns + 2 padding - width + 1)
            One map for each filter.

        Raises
        ------
        TypeError
            If `x` is of another type than the weights.
        ValueError
            If `x` is not such a batch.
        """
        weight, bias = self.params["weight"], self.params["bias"]
        if x.dtype != weight.dtype:
            raise TypeError(f"x must be {weight.dtype} like the layer's weights, got {x.dtype}")
        if x.ndim != 4 or len(x) == 0 or x.shape[1] != weight.shape[1]:
            raise ValueError(f"x must be (N ≥ 1, {weight.shape[1]}, rows, columns), got {x.shape}")
        n, out, rows, columns = self._output_shape(x)
        if min(rows, columns) < 1:
            raise ValueError(
                f"x must be at least as large as the window {weight.shape[2:]}, got {x.shape[2:]}"
            )
        self._x = x
        y = self._windows(x) @ weight.reshape(out, -1).T + bias
        return y.reshape(n, rows, columns, out).transpose(0, 3, 1, 2)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape of the last output
            The gradient of the loss with respect to that output.

        Returns
        -------
        ndarray, shape (N, in, rows, columns)
            The gradient of the loss with respect to the last input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the weights.
        ValueError
            If the shape is another.
        """
        if self._x is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        weight, x, p = self.params["weight"], self._x, self.padding
        if dy.dtype != weight.dtype:
            raise TypeError(f"dy must be {weight.dtype} like the layer's weights, got {dy.dtype}")
        if dy.shape != self._output_shape(x):
            raise ValueError(f"dy must be {self._output_shape(x)}, got {dy.shape}")
        self._x = None
        n, out, rows, columns = dy.shape
        by_place = dy.transpose(0, 2, 3, 1).reshape(-1, out)
        self.grads = {
            "weight": (by_place.T @ self._windows(x)).reshape(weight.shape),
            "bias": by_place.sum(axis=0),
        }
        d_windows = (by_place @ weight.reshape(out, -1)).reshape(
            n, rows, columns, *weight.shape[1:]
        )
        dx = np.zeros((n, x.shape[1], x.shape[2] + 2 * p, x.shape[3] + 2 * p), dy.dtype)
        # A pixel lies in many windows: what they send back is added up.
        for u, v in np.ndindex(weight.shape[2:]):
            dx[:, :, u : u + rows, v : v + columns] += d_windows[..., u, v].transpose(0, 3, 1, 2)
        return dx[:, :, p : p + x.shape[2], p : p + x.shape[3]]

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """Copy every window into a row: (N · rows · columns, in · height · width)."""
        p = self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        weight = self.params["weight"]
        views = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
        return views.transpose(0, 2, 3, 1, 4, 5).reshape(-1, weight[0].size)

    def _output_shape(self, x: np.ndarray) -> tuple[int, int, int, int]:
        out, _, height, width = self.params["weight"].shape
        more = 2 * self.padding + 1
        return len(x), out, x.shape[2] + more - height, x.shape[3] + more - width


class Reshape:
    """Read every sample's numbers in another shape: pixels as an image, maps as a vector.

    Parameters
    ----------
    shape : sequence of int
        A sample's new shape, without the batch: ``(1, 8, 8)``, or ``(64,)`` for a vector.

    Attributes
    ----------
    shape : tuple of int
        As given.
    params, grads : dict
        Empty: there is nothing to train.

    Raises
    ------
    ValueError
        If `shape` is empty, or one of its numbers is below 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        if len(shape) == 0 or min(shape) < 1:
            raise ValueError(f"shape must be numbers of at least 1, got {tuple(shape)}")
        self.shape = tuple(shape)
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[tuple[int, ...], np.dtype] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Change the shape, in the order of the last axis first.

        Parameters
        ----------
        x : ndarray, shape (N, ...)
            A batch of N ≥ 1 samples with as many numbers each as the new shape.

        Returns
        -------
        ndarray, shape (N, *shape)
            The same numbers.

        Raises
        ------
        ValueError
            If `x` is empty, or a sample has another number of numbers.
        """
        if len(x) == 0 or prod(x.shape[1:]) != prod(self.shape):
            raise ValueError(f"x must hold samples that fit {self.shape}, got {x.shape}")
        self._kept = x.shape, x.dtype
        return x.reshape(len(x), *self.shape)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Give the gradient the shape of the input.

        Parameters
        ----------
        dy : ndarray, shape (N, *shape)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape of the last input
            The same numbers.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the last input.
        ValueError
            If the shape is another.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        shape, dtype = self._kept
        if dy.dtype != dtype:
            raise TypeError(f"dy must be {dtype} like the input, got {dy.dtype}")
        if dy.shape != (shape[0], *self.shape):
            raise ValueError(f"dy must be {(shape[0], *self.shape)}, got {dy.shape}")
        self._kept = None
        return dy.reshape(shape)


def _reference(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return y, dx, dW and db of a convolution without padding, one product at a time."""
    y = np.zeros_like(dy)
    dx, d_weight, d_bias = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(bias)
    for n, o, i, j in np.ndindex(dy.shape):
        y[n, o, i, j] = bias[o]
        d_bias[o] += dy[n, o, i, j]
        for c, u, v in np.ndindex(weight.shape[1:]):
            y[n, o, i, j] += weight[o, c, u, v] * x[n, c, i + u, j + v]
            d_weight[o, c, u, v] += dy[n, o, i, j] * x[n, c, i + u, j + v]
            dx[n, c, i + u, j + v] += dy[n, o, i, j] * weight[o, c, u, v]
    return y, dx, d_weight, d_bias
