"""A computational graph records how a number was computed, and so finds its gradient by itself.

Every operation makes a new value and writes down, beside it, the values it used and the local
derivative by each: how fast the result changes with that one. Then nobody has to derive a backward
formula. From the result, whose gradient is 1, to the inputs:

    y = f(a, b)      keeps (a, ∂f/∂a) and (b, ∂f/∂b), as numbers
    backward         a.grad += dy ∂f/∂a      b.grad += dy ∂f/∂b      y before a and b

Sums, because a value may be used many times. Every value comes after those that used it, so that
its own gradient is complete when it is passed on: a reverse topological order.

Arrays are left out, so one Python object holds one number. It is a way to understand and to
check, not to train. Derivatives of derivatives are left out too.

References
----------
Linnainmaa, S. (1976). Taylor expansion of the accumulated rounding error. BIT Numerical
    Mathematics 16.
Griewank, A., Walther, A. (2008). Evaluating Derivatives: Principles and Techniques of
    Algorithmic Differentiation. SIAM.
Baydin, A., Pearlmutter, B., Radul, A., Siskind, J. (2018). Automatic differentiation in machine
    learning: a survey. Journal of Machine Learning Research 18.
Karpathy, A. (2020). micrograd. GitHub.
"""

import math
from collections.abc import Iterable
from numbers import Real

__all__ = ["Value"]


class Value:
    """A number that remembers what it was computed from.

    It takes part in ``+ - * /``, in ``**`` with a constant exponent, and in the functions below,
    together with other values and with plain numbers.

    Parameters
    ----------
    data : float
        The number.
    inputs : iterable of (Value, float), default ()
        The values it was computed from, each with the local derivative by it; none for a leaf. The
        operations fill this in. Give it yourself to make an operation that is missing here.

    Attributes
    ----------
    data : float
        As given. Operations read it when they are made, never again.
    grad : float
        The gradient that `backward` brought; 0 at first.
    inputs : tuple of (Value, float)
        As given.

    Raises
    ------
    TypeError
        If `data`, a derivative or the other side of an operation is no number.
    ValueError
        If a negative number is raised to a broken exponent.
    ZeroDivisionError
        If an operation, or its derivative, divides by 0.
    OverflowError
        If a power or an exponential is too large for a float.
    """

    __slots__ = ("data", "grad", "inputs")

    def __init__(self, data: float, inputs: Iterable[tuple["Value", float]] = ()) -> None:
        self.data = _number("data", data)
        self.inputs = tuple((value, _number("derivative", slope)) for value, slope in inputs)
        self.grad = 0.0

    def __repr__(self) -> str:
        return f"Value({self.data:.6g}, grad={self.grad:.6g})"

    def __add__(self, other: "Value | float") -> "Value":
        b = _value(other)
        return Value(self.data + b.data, [(self, 1), (b, 1)])

    def __sub__(self, other: "Value | float") -> "Value":
        b = _value(other)
        return Value(self.data - b.data, [(self, 1), (b, -1)])

    def __mul__(self, other: "Value | float") -> "Value":
        b = _value(other)
        return Value(self.data * b.data, [(self, b.data), (b, self.data)])

    def __truediv__(self, other: "Value | float") -> "Value":
        b = _value(other)
        y = self.data / b.data
        return Value(y, [(self, 1 / b.data), (b, -y / b.data)])

    def __pow__(self, exponent: float) -> "Value":
        n = _number("exponent", exponent)
        if self.data < 0 and not n.is_integer():
            raise ValueError(f"exponent of a negative number must be whole, got {exponent}")
        return Value(self.data**n, [(self, n * self.data ** (n - 1) if n else 0)])

    def __neg__(self) -> "Value":
        return Value(-self.data, [(self, -1)])

    def __rsub__(self, other: float) -> "Value":
        return _value(other) - self

    def __rtruediv__(self, other: float) -> "Value":
        return _value(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> "Value":
        """Return ``eˣ``, whose derivative is itself.

        Returns
        -------
        Value
            The result.
        """
        y = math.exp(self.data)
        return Value(y, [(self, y)])

    def log(self) -> "Value":
        """Return the natural logarithm, whose derivative is ``1 / x``.

        Returns
        -------
        Value
            The result.

        Raises
        ------
        ValueError
            If the number is not above 0.
        """
        if not self.data > 0:
            raise ValueError(f"log needs a number above 0, got {self.data}")
        return Value(math.log(self.data), [(self, 1 / self.data)])

    def tanh(self) -> "Value":
        """Return ``tanh x``, whose derivative is ``1 - tanh² x``.

        Returns
        -------
        Value
            The result.
        """
        y = math.tanh(self.data)
        return Value(y, [(self, 1 - y * y)])

    def relu(self) -> "Value":
        """Return ``max(0, x)``, whose derivative is 1 above 0 and else 0.

        Returns
        -------
        Value
            The result.
        """
        return Value(max(self.data, 0.0), [(self, self.data > 0)])

    def graph(self) -> list["Value"]:
        """List every value that this one was computed from, each once, inputs first.

        Returns
        -------
        list of Value
            A topological order; this value is the last.
        """
        order: list[Value] = []
        listed: set[int] = set()
        stack = [self]  # not recursion: a chain may be longer than Python's stack is deep
        while stack:
            missing = [value for value, _ in stack[-1].inputs if id(value) not in listed]
            stack += missing
            if not missing:
                value = stack.pop()
                if id(value) not in listed:
                    listed.add(id(value))
                    order.append(value)
        return order

    def backward(self) -> None:
        """Add the gradient of this value to every leaf's `grad`, and set it for all between.

        Leaves, which were computed from nothing, add up over several calls, so that two losses of
        one parameter count both: set their `grad` to 0 before a new step.
        """
        order = self.graph()
        for value in order:
            if value.inputs:
                value.grad = 0.0
        self.grad += 1.0
        for value in reversed(order):
            for used, slope in value.inputs:
                used.grad += value.grad * slope


def _number(name: str, number: float) -> float:
    if not isinstance(number, Real):  # NumPy's single numbers are, too
        raise TypeError(f"{name} must be a number, got {type(number).__name__}")
    return float(number)


def _value(other: Value | float) -> Value:
    return other if isinstance(other, Value) else Value(_number("other", other))
