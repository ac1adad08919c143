"""The chain rule multiplies the rates of change of steps in a row, from either end.

If y changes three times as fast as z, and z twice as fast as x, then y changes six times as fast
as x. With many numbers at each step a rate becomes a table, the Jacobian Jᵢ of the step at the
point x that reaches it, and the product keeps the order of the steps:

    J  = Jₗ ⋯ J₂ J₁
    jvp, forward mode:  J u   = Jₗ (⋯ (J₂ (J₁ u)))        for u = eⱼ a column of J
    vjp, reverse mode:  Jᵀdy  = J₁ᵀ (J₂ᵀ (⋯ (Jₗᵀ dy)))    for dy = eᵢ a row of J

Both multiply a vector by one table at a time and never build J, at the same price. All of J takes
one forward pass for each input or one reverse pass for each output. Steps that branch and merge,
and derivatives by the weights, are left out.

References
----------
Wengert, R. (1964). A simple automatic derivative evaluation program. Communications of the ACM
    7(8).
Linnainmaa, S. (1976). Taylor expansion of the accumulated rounding error. BIT Numerical
    Mathematics 16.
Griewank, A., Walther, A. (2008). Evaluating Derivatives: Principles and Techniques of
    Algorithmic Differentiation. SIAM.
Naumann, U. (2008). Optimal Jacobian accumulation is NP-complete. Mathematical Programming 112.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["Affine", "Elementwise", "Pass", "Step", "jvp", "vjp"]


class Step(Protocol):
    """What a step of a chain can do at a point, with K directions at once."""

    def value(self, x: np.ndarray) -> np.ndarray:
        """Return the step's output.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (m,)
            The value.
        """

    def push(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return ``J u``, with the Jacobian J at `x`.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.
        u : ndarray, shape (n,) or (K, n)
            Directions of the input.

        Returns
        -------
        ndarray, shape (m,) or (K, m)
            What they do to the output.
        """

    def pull(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return ``Jᵀ dy``, with the Jacobian J at `x`.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.
        dy : ndarray, shape (m,) or (K, m)
            Weightings of the output.

        Returns
        -------
        ndarray, shape (n,) or (K, n)
            What they ask of the input.
        """

    def products(self, x: np.ndarray) -> int:
        """Return what `push` or `pull` takes for one direction.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        int
            Multiplications.
        """


class Affine:
    """Compute ``y = W x + b``, whose Jacobian is W at every point.

    Parameters
    ----------
    weight : ndarray, shape (m, n)
        W, floating point.
    bias : ndarray, shape (m,), optional
        b, of the same type; zeros if not given.

    Raises
    ------
    TypeError
        If `weight` is not floating point, or `bias` is of another type.
    ValueError
        If a shape does not fit.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
        if not np.issubdtype(weight.dtype, np.floating):
            raise TypeError(f"weight must be floating point, got {weight.dtype}")
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(f"weight must be (m, n), neither of them 0, got {weight.shape}")
        bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
        _check("bias", bias, (len(weight),), weight.dtype)
        self.weight = weight
        self.bias = bias

    def value(self, x: np.ndarray) -> np.ndarray:
        """Return ``W x + b``.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point, of the type of the weights.

        Returns
        -------
        ndarray, shape (m,)
            The value.

        Raises
        ------
        TypeError, ValueError
            If the type or the shape of `x` is another.
        """
        _check("x", x, self.weight.shape[1:], self.weight.dtype)
        return self.weight @ x + self.bias

    def push(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return ``W u``.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point; W is the same everywhere.
        u : ndarray, shape (n,) or (K, n)
            Directions of the input.

        Returns
        -------
        ndarray, shape (m,) or (K, m)
            What they do to the output.
        """
        return u @ self.weight.T

    def pull(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return ``Wᵀ dy``.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point; W is the same everywhere.
        dy : ndarray, shape (m,) or (K, m)
            Weightings of the output.

        Returns
        -------
        ndarray, shape (n,) or (K, n)
            What they ask of the input.
        """
        return dy @ self.weight

    def products(self, x: np.ndarray) -> int:
        """Return m n.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        int
            Multiplications for one direction.
        """
        return self.weight.size


class Elementwise:
    """Apply a function to every number alone: its Jacobian is diagonal, and kept as a vector.

    Parameters
    ----------
    function : callable
        Takes an array and returns a tuple of two of its shape, the values and the derivatives:
        one of the functions of the entry on activations, or one of your own.
    """

    def __init__(self, function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self.function = function

    def value(self, x: np.ndarray) -> np.ndarray:
        """Return ``f(x)``.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (n,)
            The values.

        Raises
        ------
        TypeError, ValueError
            If `function` returns something else than two arrays of the shape and type of `x`; the
            derivatives may be of a narrower type.
        """
        return self._both(x)[0]

    def push(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return ``f'(x) ⊙ u``.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.
        u : ndarray, shape (n,) or (K, n)
            Directions of the input.

        Returns
        -------
        ndarray, shape of `u`
            What they do to the output.
        """
        return self._both(x)[1] * u

    def pull(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return ``f'(x) ⊙ dy``: a diagonal matrix is its own transpose.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.
        dy : ndarray, shape (n,) or (K, n)
            Weightings of the output.

        Returns
        -------
        ndarray, shape of `dy`
            What they ask of the input.
        """
        return self._both(x)[1] * dy

    def products(self, x: np.ndarray) -> int:
        """Return n.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        int
            Multiplications for one direction.
        """
        return x.size

    def _both(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        returned = self.function(x)
        # A bare array of two numbers would unpack into "value" and "derivative".
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError("function must return a tuple of two, (values, derivatives)")
        if not np.shape(returned[0]) == np.shape(returned[1]) == x.shape:
            raise ValueError(f"function must return two arrays {x.shape} like x")
        values, slopes = returned
        # Slopes may be booleans, as those of ReLU are; nothing may widen float32.
        if np.result_type(values) != x.dtype or np.result_type(slopes, x) != x.dtype:
            raise TypeError(f"function must return two arrays of {x.dtype} like x")
        return returned


class Pass(NamedTuple):
    """What one pass found, and what it took.

    Parameters
    ----------
    y : ndarray, shape (m,)
        The value of the chain.
    derivative : ndarray
        J u of `jvp`, shape (m,) or (K, m); Jᵀ dy of `vjp`, shape (n,) or (K, n).
    products : int
        Multiplications by local derivatives; those of the values themselves are not in it.
    kept : int
        Numbers held for the way back: the inputs of all steps in reverse mode, none in forward.
    """

    y: np.ndarray
    derivative: np.ndarray
    products: int
    kept: int


def jvp(steps: Sequence[Step], x: np.ndarray, u: np.ndarray) -> Pass:
    """Carry directions of the input through all steps, together with the point: ``J u``.

    Parameters
    ----------
    steps : sequence of Step
        At least one, in the order in which they are computed.
    x : ndarray, shape (n,)
        The point, floating point.
    u : ndarray, shape (n,) or (K, n)
        One direction, or one in each row, of the type of `x`.

    Returns
    -------
    Pass
        With ``J u`` as its derivative: how fast every output changes along each direction.

    Raises
    ------
    TypeError
        If `x` is not floating point, or a type does not fit.
    ValueError
        If `steps` is empty, or a shape does not fit.
    """
    _check_point(steps, x)
    _check("u", u, x.shape, x.dtype, rows=True)
    directions, products = u.size // x.size, 0
    for step in steps:
        products += directions * step.products(x)
        x, u = step.value(x), step.push(x, u)  # both from the old x
    return Pass(x, u, products, kept=0)


def vjp(steps: Sequence[Step], x: np.ndarray, dy: np.ndarray) -> Pass:
    """Compute the chain, keep every point, and carry weightings of the output back: ``Jᵀ dy``.

    Parameters
    ----------
    steps : sequence of Step
        At least one, in the order in which they are computed.
    x : ndarray, shape (n,)
        The point, floating point.
    dy : ndarray, shape (m,) or (K, m)
        One weighting of the outputs, or one in each row, of the type of the output.

    Returns
    -------
    Pass
        With ``Jᵀ dy`` as its derivative: the gradient of ``y · dy`` with respect to `x`.

    Raises
    ------
    TypeError
        If `x` is not floating point, or a type does not fit.
    ValueError
        If `steps` is empty, or a shape does not fit.
    """
    _check_point(steps, x)
    points = [x]
    for step in steps:
        points.append(step.value(points[-1]))
    y = points.pop()
    _check("dy", dy, y.shape, y.dtype, rows=True)
    weightings, products = dy.size // y.size, 0
    for step, point in zip(reversed(steps), reversed(points), strict=True):
        products += weightings * step.products(point)
        dy = step.pull(point, dy)
    return Pass(y, dy, products, kept=sum(point.size for point in points))


def _check_point(steps: Sequence[Step], x: np.ndarray) -> None:
    if not steps:
        raise ValueError("steps must hold at least one step, got none")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floating point, got {x.dtype}")
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"x must be one point, (n ≥ 1,), got {x.shape}")


def _check(
    name: str, value: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, *, rows: bool = False
) -> None:
    if value.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, got {value.dtype}")
    one_each_row = rows and value.ndim == 2 and len(value) > 0 and value.shape[1:] == shape
    if value.shape != shape and not one_each_row:
        raise ValueError(f"{name} must be {shape}{' or rows of that' * rows}, got {value.shape}")
