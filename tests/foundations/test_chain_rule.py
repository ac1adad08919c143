from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.differentiate import jacobian

from lexicon.foundations.activation import relu, sigmoid, silu, softplus, tanh
from lexicon.foundations.chain_rule import Affine, Elementwise, Pass, jvp, vjp
from lexicon.foundations.gradient_check import numerical_gradient, relative_error


def square(x):
    return x * x, 2 * x


def by_hand():
    w1, w2 = np.array([[1.0, 1.0], [2.0, -1.0], [0.0, 1.0]]), np.array([[1.0, 2.0, -1.0]])
    return [Affine(w1), Elementwise(square), Affine(w2)], np.array([1.0, 2.0])


def chain(rng, widths, functions=(tanh, sigmoid, softplus, silu)):
    """Affine maps with biases and an activation between each two."""
    steps = []
    for i, (n, m) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((m, n)) / np.sqrt(n)
        steps += [Affine(weight, rng.standard_normal(m)), Elementwise(functions[i % 4])]
    return steps[:-1]


class Counted(np.ndarray):
    """An array that counts the multiplications it takes part in."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            Counted.products += result.size * plain[0].shape[-1]
        elif ufunc is np.multiply:
            Counted.products += result.size
        return result.view(Counted)


def test_by_hand():
    steps, x = by_hand()
    z = steps[0].value(x)
    h = steps[1].value(z)
    np.testing.assert_array_equal(z, [3, 0, 2])
    np.testing.assert_array_equal(h, [9, 0, 4])
    back = steps[2].pull(h, np.array([1.0]))
    np.testing.assert_array_equal(back, [1, 2, -1])
    back = steps[1].pull(z, back)
    np.testing.assert_array_equal(back, [6, 0, -4])
    np.testing.assert_array_equal(steps[0].pull(x, back), [6, 2])
    reverse = vjp(steps, x, np.array([1.0]))
    assert isinstance(reverse, Pass)
    np.testing.assert_array_equal(reverse.y, [5])
    np.testing.assert_array_equal(reverse.derivative, [6, 2])
    assert (reverse.products, reverse.kept) == (6 + 3 + 3, 2 + 3 + 3)
    forward = [jvp(steps, x, u) for u in np.eye(2)]
    np.testing.assert_array_equal(steps[1].push(z, steps[0].push(x, np.eye(2)[0])), [6, 0, 0])
    np.testing.assert_array_equal(steps[1].push(z, steps[0].push(x, np.eye(2)[1])), [6, 0, 4])
    assert [one.derivative.tolist() for one in forward] == [[6], [2]]
    assert [(one.y.tolist(), one.products, one.kept) for one in forward] == [([5], 12, 0)] * 2
    both = jvp(steps, x, np.eye(2))
    np.testing.assert_array_equal(both.derivative, [[6], [2]])
    assert both.products == 24
    # The Jacobians of the page, and path by path from the first input: 6 + 0 + 0.
    j1, j3 = steps[0].weight, steps[2].weight
    np.testing.assert_array_equal(steps[1].push(z, np.eye(3)), np.diag([6, 0, 4]))
    np.testing.assert_array_equal(j1[:, 0] * [6, 0, 4] * j3[0], [6, 0, 0])
    np.testing.assert_array_equal(j3 @ np.diag([6, 0, 4]) @ j1, [[6, 2]])


def test_by_hand_rates_of_single_numbers_multiply():
    # z = 2x + 1 at x = 1 is 3 and changes twice as fast; z² changes 2z = 6 times as fast as z.
    steps = [Affine(np.array([[2.0]]), np.array([1.0])), Elementwise(square)]
    assert vjp(steps, np.array([1.0]), np.array([1.0])).derivative == [12]
    assert jvp(steps, np.array([1.0]), np.array([1.0])).derivative == [12]
    moved = vjp(steps, np.array([1.001]), np.array([1.0])).y[0]
    assert moved == pytest.approx(9.012004)  # 12 times 0.001 more, and a little


@pytest.mark.parametrize("widths", [(5, 4, 3), (3, 7, 6), (1, 5, 4), (6, 3, 1), (4, 4, 4, 4)])
def test_both_modes_find_the_jacobian_that_differences_and_scipy_measure(rng, widths):
    steps, x = chain(rng, widths), rng.standard_normal(widths[0])
    forward = jvp(steps, x, np.eye(widths[0])).derivative.T
    reverse = vjp(steps, x, np.eye(widths[-1])).derivative
    assert forward.shape == reverse.shape == (widths[-1], widths[0])
    np.testing.assert_allclose(forward, reverse, rtol=1e-13, atol=1e-15)
    for i, dy in enumerate(np.eye(widths[-1])):
        point = x.copy()
        rows = numerical_gradient(lambda p=point, v=dy: float(jvp(steps, p, p).y @ v), point)
        assert relative_error(reverse[i], rows) < 1e-8

    def columns(points):
        flat = points.reshape(widths[0], -1).T
        values = np.array([jvp(steps, one, one).y for one in flat]).T
        return values.reshape(-1, *points.shape[1:])

    np.testing.assert_allclose(reverse, jacobian(columns, x).df, rtol=1e-7, atol=1e-9)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_weighting_first_or_last_is_the_same(seed, widths):
    rng = np.random.default_rng(seed)
    steps, x = chain(rng, widths), rng.standard_normal(widths[0])
    u, dy = rng.standard_normal(widths[0]), rng.standard_normal(widths[-1])
    forward, reverse = jvp(steps, x, u), vjp(steps, x, dy)
    assert dy @ forward.derivative == pytest.approx(reverse.derivative @ u, rel=1e-11, abs=1e-12)
    np.testing.assert_array_equal(forward.y, reverse.y)
    assert forward.products == reverse.products


@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-3, 3))
def test_both_are_linear_and_take_rows_at_once(seed, a, b):
    rng = np.random.default_rng(seed)
    steps, x = chain(rng, [4, 5, 3]), rng.standard_normal(4)
    for mode, width in (jvp, 4), (vjp, 3):
        rows = rng.standard_normal((2, width))
        both = mode(steps, x, rows)
        singles = [mode(steps, x, row) for row in rows]
        for row, one in zip(both.derivative, singles, strict=True):
            np.testing.assert_allclose(row, one.derivative, rtol=1e-12, atol=1e-13)
        assert both.products == sum(one.products for one in singles)
        assert both.kept == singles[0].kept
        mixed = mode(steps, x, a * rows[0] + b * rows[1]).derivative
        expected = a * both.derivative[0] + b * both.derivative[1]
        np.testing.assert_allclose(mixed, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), [(9, 1), (1, 9), (6, 6)])
def test_products_are_those_that_are_made(rng, inputs, outputs):
    steps = [
        Affine(rng.standard_normal((7, inputs))),
        Elementwise(relu),
        Affine(rng.standard_normal((outputs, 7))),
    ]
    once = 7 * inputs + 7 + outputs * 7
    x = rng.standard_normal(inputs)
    passes = {}
    for name, mode, start in ("forward", jvp, np.eye(inputs)), ("reverse", vjp, np.eye(outputs)):
        Counted.products = 0
        found = mode(steps, x, start.view(Counted))
        assert found.products == Counted.products == len(start) * once
        passes[name] = found.products
        assert found.kept == (inputs + 7 + 7 if name == "reverse" else 0)
    assert passes["forward"] * outputs == passes["reverse"] * inputs


def test_a_chain_of_matrices_is_the_same_question(rng):
    j1, j2, j3 = (rng.standard_normal(shape) for shape in [(100, 1000), (10, 100), (1, 10)])
    orders = {}
    for name in ("input", "output"):
        Counted.products = 0
        if name == "input":
            result = j3.view(Counted) @ (j2.view(Counted) @ j1)
        else:
            result = (j3.view(Counted) @ j2) @ j1
        orders[name] = Counted.products
        np.testing.assert_allclose(
            result.view(np.ndarray), np.linalg.multi_dot([j3, j2, j1]), rtol=1e-9, atol=1e-9
        )
    assert orders == {"input": 1_010_000, "output": 101_000}


def test_neither_order_is_best_at_a_bottleneck(rng):
    # 64 -> 1 -> 64: row after row or column after column, 8,192; the two tables at once, 4,096.
    steps = [Affine(rng.standard_normal((1, 64))), Affine(rng.standard_normal((64, 1)))]
    x = np.zeros(64)
    assert jvp(steps, x, np.eye(64)).products == vjp(steps, x, np.eye(64)).products == 8192
    Counted.products = 0
    outer = steps[1].weight.view(Counted) @ steps[0].weight
    assert Counted.products == 4096
    np.testing.assert_allclose(
        outer.view(np.ndarray), vjp(steps, x, np.eye(64)).derivative, rtol=1e-15
    )


def test_reverse_keeps_what_depth_demands():
    for depth in (1, 5, 20):
        steps = [Elementwise(tanh)] * depth
        x = np.full(8, 0.5)
        assert vjp(steps, x, np.ones(8)).kept == 8 * depth
        assert jvp(steps, x, np.ones(8)).kept == 0


def test_pitfall_forward_mode_on_a_million_inputs():
    n = 10**6
    steps = [Affine(np.ones((1, n), np.float32)), Elementwise(tanh)]
    x = np.zeros(n, np.float32)
    u = np.zeros(n, np.float32)
    u[0] = 1
    one = jvp(steps, x, u)
    whole = vjp(steps, x, np.ones(1, np.float32))
    assert one.derivative == [1]
    assert one.products == whole.products == 1_000_001
    np.testing.assert_array_equal(whole.derivative, np.ones(n))
    assert n * one.products == 1_000_001_000_000


def test_pitfall_the_factors_in_the_wrong_order():
    j1, j2 = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])
    found = vjp([Affine(j1), Affine(j2)], np.zeros(2), np.eye(2)).derivative
    np.testing.assert_array_equal(found, j2 @ j1)
    assert not np.array_equal(found, j1 @ j2)


def test_pitfall_a_rate_at_the_wrong_point():
    x = np.array([1.0])
    h, right = tanh(x)
    wrong = Elementwise(tanh).pull(h, np.array([1.0]))
    assert round(right[0], 3) == 0.420
    assert round(wrong[0], 3) == 0.588
    np.testing.assert_array_equal(vjp([Elementwise(tanh)], x, np.array([1.0])).derivative, right)
    measured = numerical_gradient(lambda: float(np.tanh(x[0])), x)
    assert relative_error(right, measured) < 1e-9
    assert relative_error(wrong, measured) > 0.2


def test_a_tie_at_a_kink_is_the_functions_own():
    # ReLU takes the derivative from the left at 0, in both modes.
    steps = [Elementwise(relu)]
    for mode in (jvp, vjp):
        found = mode(steps, np.array([-1.0, 0.0, 1.0]), np.ones(3))
        np.testing.assert_array_equal(found.derivative, [0, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_stays_and_nothing_is_changed(rng, dtype):
    weight, bias = rng.standard_normal((3, 4)).astype(dtype), np.ones(3, dtype)
    steps = [Affine(weight, bias), Elementwise(relu), Elementwise(sigmoid)]
    x, u, dy = np.ones(4, dtype), np.ones(4, dtype), np.ones((2, 3), dtype)
    kept = [array.copy() for array in (weight, bias, x, u, dy)]
    for found in jvp(steps, x, u), vjp(steps, x, dy):
        assert found.y.dtype == found.derivative.dtype == dtype
    for array, copy in zip((weight, bias, x, u, dy), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_bad_steps():
    with pytest.raises(TypeError, match="weight must be floating point, got int64"):
        Affine(np.ones((2, 3), np.int64))
    for shape in [(), (3,), (0, 3), (2, 0), (1, 2, 3)]:
        with pytest.raises(ValueError, match=r"weight must be \(m, n\), neither of them 0, got"):
            Affine(np.ones(shape))
    with pytest.raises(TypeError, match="bias must be float64, got float32"):
        Affine(np.ones((2, 3)), np.ones(2, np.float32))
    for shape in [(), (3,), (1,), (2, 2)]:
        with pytest.raises(ValueError, match=r"bias must be \(2,\), got"):
            Affine(np.ones((2, 3)), np.ones(shape))
    with pytest.raises(TypeError, match="function must return a tuple of two"):
        jvp([Elementwise(np.tanh)], np.ones(2), np.ones(2))
    with pytest.raises(TypeError, match="function must return a tuple of two"):
        vjp([Elementwise(lambda x: (x, x, x))], np.ones(2), np.ones(2))
    for wrong in (lambda x: (x.sum(), x), lambda x: (x, x.sum())):
        with pytest.raises(ValueError, match=r"function must return two arrays \(2,\) like x"):
            vjp([Elementwise(wrong)], np.ones(2), np.ones(2))
    x = np.ones(2, np.float32)
    for wrong in (lambda x: (x, x.astype(float)), lambda x: (x.astype(float), x)):
        for mode in (jvp, vjp):
            with pytest.raises(TypeError, match="function must return two arrays of float32"):
                mode([Elementwise(wrong)], x, x)


def test_bad_points_and_directions():
    steps = [Affine(np.ones((2, 3))), Elementwise(tanh)]
    for mode, name, width in (jvp, "u", 3), (vjp, "dy", 2):
        with pytest.raises(ValueError, match="steps must hold at least one step"):
            mode([], np.ones(3), np.ones(3))
        with pytest.raises(TypeError, match="x must be floating point, got int64"):
            mode(steps, np.ones(3, np.int64), np.ones(3))
        with pytest.raises(TypeError, match="x must be float64, got float32"):
            mode(steps, np.ones(3, np.float32), np.ones(width, np.float32))
        for shape in [(), (0,), (1, 3)]:
            with pytest.raises(ValueError, match=r"x must be one point, \(n ≥ 1,\), got"):
                mode(steps, np.ones(shape), np.ones(3))
        with pytest.raises(ValueError, match=r"x must be \(3,\), got \(4,\)"):
            mode(steps, np.ones(4), np.ones(4 if mode is jvp else 2))
        with pytest.raises(TypeError, match=f"{name} must be float64, got float32"):
            mode(steps, np.ones(3), np.ones(width, np.float32))
        for shape in [(), (width + 1,), (0, width), (2, width + 1), (1, 2, width)]:
            with pytest.raises(ValueError, match=rf"{name} must be \({width},\) or rows of that"):
                mode(steps, np.ones(3), np.ones(shape))
