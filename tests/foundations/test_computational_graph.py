import math
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.differentiate import derivative
from scipy.special import ndtr

from lexicon.data import load_digits
from lexicon.foundations.activation import (
    Activation,
    gelu,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from lexicon.foundations.backpropagation import two_layer_backward, two_layer_forward
from lexicon.foundations.chain_rule import Affine, Elementwise, vjp
from lexicon.foundations.computational_graph import Value
from lexicon.foundations.cross_entropy import BinaryCrossEntropy, CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.neuron import Neuron
from lexicon.foundations.regression_loss import Huber, MeanAbsoluteError, MeanSquaredError
from lexicon.foundations.softmax import Softmax

# What each activation is, out of the graph's own operations.
FORMULAS = {
    relu: lambda x: x.relu(),
    leaky_relu: lambda x: x.relu() - 0.01 * (-x).relu(),
    sigmoid: lambda x: 1 / (1 + (-x).exp()),
    tanh: lambda x: x.tanh(),
    softplus: lambda x: (1 + x.exp()).log(),
    silu: lambda x: x / (1 + (-x).exp()),
    gelu: lambda x: x * normal_share(x),
}
three_seeds = pytest.mark.parametrize("seed", range(3))


def normal_share(x):
    """Give the graph an operation that it does not have: Φ, whose derivative is the density."""
    density = math.exp(-(x.data**2) / 2) / math.sqrt(2 * math.pi)
    return Value(ndtr(x.data), [(x, density)])


def values(array):
    made = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        made[index] = Value(array[index])
    return made


def each(function, array):
    made = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        made[index] = function(array[index])
    return made


def data(array):
    return each(lambda value: value.data, array).astype(float)


def grads(array):
    return each(lambda value: value.grad, array).astype(float)


def agree(pairs):
    for name, (ours, theirs) in pairs.items():
        assert relative_error(grads(ours), theirs) < 1e-12, name
        assert np.abs(theirs).max() > 1e-3, name  # not because both are zero


def softmax_of(z, temperature=1.0):
    powers = each(lambda value: (value / temperature).exp(), z)
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropy_of(z, labels):
    logs = each(lambda value: value.log(), each(lambda value: value.exp(), z).sum(axis=1))
    return (logs - z[np.arange(len(z)), labels]).sum() / len(z)


def test_by_hand():
    a, b = Value(2.0), Value(3.0)
    s = a + b
    y = s * b
    assert (s.data, y.data) == (5, 15)
    assert s.inputs == ((a, 1.0), (b, 1.0))
    assert y.inputs == ((s, 3.0), (b, 5.0))
    assert [value.grad for value in (a, b, s, y)] == [0, 0, 0, 0]
    y.backward()
    assert [value.grad for value in (a, b, s, y)] == [3, 8, 3, 1]
    assert y.graph() in ([a, b, s, y], [b, a, s, y])
    assert repr(b) == "Value(3, grad=8)"


# The number at which it is taken, the result and the derivative, each by hand.
@pytest.mark.parametrize(
    ("function", "x", "y", "slope"),
    [
        (lambda x: x + 5, 2.0, 7, 1),
        (lambda x: 5 + x, 2.0, 7, 1),
        (lambda x: x - 5, 2.0, -3, 1),
        (lambda x: 5 - x, 2.0, 3, -1),
        (lambda x: x * 5, 2.0, 10, 5),
        (lambda x: 5 * x, 2.0, 10, 5),
        (lambda x: x / 4, 2.0, 0.5, 0.25),
        (lambda x: 4 / x, 2.0, 2, -1),
        (lambda x: -x, 2.0, -2, -1),
        (lambda x: x**3, 2.0, 8, 12),
        (lambda x: x**-1, -2.0, -0.5, -0.25),
        (lambda x: x**0.5, 4.0, 2, 0.25),
        (lambda x: x**0, 0.0, 1, 0),
        (lambda x: x**1, 0.0, 0, 1),
        (lambda x: x.exp(), 0.0, 1, 1),
        (lambda x: x.log(), 4.0, math.log(4), 0.25),
        (lambda x: x.tanh(), 0.0, 0, 1),
        (lambda x: x.relu(), 2.0, 2, 1),
        (lambda x: x.relu(), -2.0, 0, 0),
        (lambda x: x.relu(), 0.0, 0, 0),
        (lambda x: x * x, 3.0, 9, 6),
        (lambda x: x / x, 3.0, 1, 0),
        (lambda x: x - x, 3.0, 0, 0),
        (lambda x: x, 3.0, 3, 1),
    ],
)
def test_every_operation(function, x, y, slope):
    x = Value(x)
    result = function(x)
    result.backward()
    assert result.data == y
    assert x.grad == slope


@given(st.floats(0.2, 3))
def test_operations_have_the_slopes_that_scipy_measures(x):
    cases = [
        (lambda v: v.exp(), np.exp),
        (lambda v: v.log(), np.log),
        (lambda v: v.tanh(), np.tanh),
        (lambda v: v**2.5, lambda t: t**2.5),
        (lambda v: 2 / v - v / (v + 1), lambda t: 2 / t - t / (t + 1)),
    ]
    for ours, theirs in cases:
        value = Value(x)
        ours(value).backward()
        assert value.grad == pytest.approx(
            derivative(theirs, x, initial_step=0.05).df, rel=1e-7, abs=1e-9
        )


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_gradients_are_linear_and_leaves_add_up(a, b, p, q):
    def results():
        leaves = Value(a), Value(b)
        return leaves, leaves[0] * leaves[1].tanh(), (leaves[0] - leaves[1]) ** 2

    leaves, first, second = results()
    (p * first + q * second).backward()
    together = [leaf.grad for leaf in leaves]
    leaves, first, second = results()
    (p * first).backward()
    (q * second).backward()
    assert [leaf.grad for leaf in leaves] == pytest.approx(together, rel=1e-12, abs=1e-12)


@given(st.integers(0, 10**6))
def test_the_order_has_every_value_once_after_its_inputs(seed):
    rng = np.random.default_rng(seed)
    made = [Value(1.0) for _ in range(3)]
    for _ in range(30):
        first, second = (made[i] for i in rng.integers(len(made), size=2))
        made.append(first + second if rng.random() < 0.5 else first * second * 0.5)
    order = made[-1].graph()
    place = {id(value): i for i, value in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is made[-1]
    for value in order:
        for used, _ in value.inputs:
            assert place[id(used)] < place[id(value)]
    # Path by path, which no order can get wrong: the sum over all ways from the end to a leaf.
    assume(len(order) < 60)
    made[-1].backward()
    paths = {id(value): 0.0 for value in order}
    todo = [(made[-1], 1.0)]
    while todo and len(todo) < 10_000:
        value, slope = todo.pop()
        paths[id(value)] += slope
        todo += [(used, slope * local) for used, local in value.inputs]
    if not todo:
        for value in order:
            assert value.grad == pytest.approx(paths[id(value)], rel=1e-10)


class Recorded:
    """A layer without a backward of its own: any expression of values, one sample after another."""

    def __init__(self, weight, expression):
        self.params, self.grads, self.expression = {"weight": weight}, {}, expression

    def forward(self, x):
        self._x, self._weight = values(x), values(self.params["weight"])
        self._y = np.array([self.expression(row, self._weight) for row in self._x])
        return data(self._y)

    def backward(self, dy):
        (self._y * dy).sum().backward()
        self.grads = {"weight": grads(self._weight)}
        return grads(self._x)


def test_gradients_are_those_that_small_changes_measure(rng):
    def expression(x, w):
        h = x[0] * w[0] / (1 + w[1] ** 2) - (x[1] - 3.0).tanh() * w[0]
        return [h, -(h * w[2]).exp() + h.relu(), Value(2.0) ** 2 - (x[0] * x[0] + 1).log() / h]

    layer = Recorded(rng.standard_normal(3), expression)
    # Fewer digits than the twelve to which the graph agrees with formulas: the check is rounded.
    assert 1e-11 < max(check_layer(layer, rng.standard_normal((4, 2)), rng=rng).values()) < 1e-8


@three_seeds
def test_neuron(seed):
    rng = np.random.default_rng(seed)
    weight, bias, x, dy = (rng.standard_normal(shape) for shape in (3, 1, (4, 3), 4))
    neuron = Neuron(weight, bias)
    y = neuron.forward(x)
    dx = neuron.backward(dy)
    v_weight, v_bias, v_x = values(weight), values(bias), values(x)
    ours = each(FORMULAS[sigmoid], v_x @ v_weight + v_bias)
    (ours * dy).sum().backward()
    np.testing.assert_allclose(data(ours), y, rtol=1e-13)
    agree(
        {
            "x": (v_x, dx),
            "weight": (v_weight, neuron.grads["weight"]),
            "bias": (v_bias, neuron.grads["bias"]),
        }
    )


@three_seeds
@pytest.mark.parametrize("function", FORMULAS, ids=lambda function: function.__name__)
def test_activations_between_linear_layers(function, seed):
    rng = np.random.default_rng(seed)
    sizes = [(4, 3), (4,), (2, 4), (2,)]
    w1, b1, w2, b2 = (rng.standard_normal(size) for size in sizes)
    x, dy = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    network = Sequential([Linear(w1, b1), Activation(function), Linear(w2, b2)])
    y = network.forward(x)
    dx = network.backward(dy)
    v_x, *parameters = (values(array) for array in (x, w1, b1, w2, b2))
    hidden = each(FORMULAS[function], v_x @ parameters[0].T + parameters[1])
    ours = hidden @ parameters[2].T + parameters[3]
    (ours * dy).sum().backward()
    np.testing.assert_allclose(data(ours), y, rtol=1e-12, atol=1e-13)
    names = zip(network.grads.items(), parameters, strict=True)
    agree({"x": (v_x, dx), **{name: (v, theirs) for (name, theirs), v in names}})


@three_seeds
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_softmax(seed, temperature):
    rng = np.random.default_rng(seed)
    z, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    layer = Softmax(temperature=temperature)
    p = layer.forward(z)
    dz = layer.backward(dy)
    v_z = values(z)
    ours = softmax_of(v_z, temperature)
    (ours * dy).sum().backward()
    np.testing.assert_allclose(data(ours), p, rtol=1e-13)
    agree({"z": (v_z, dz)})


@three_seeds
def test_both_cross_entropies(seed):
    rng = np.random.default_rng(seed)
    z, labels = rng.standard_normal((4, 3)), rng.integers(0, 3, 4)
    criterion, v_z = CrossEntropy(), values(z)
    loss = cross_entropy_of(v_z, labels)
    assert loss.data == pytest.approx(criterion.forward(z, labels), rel=1e-13)
    loss.backward()
    agree({"z": (v_z, criterion.backward())})
    targets, binary, v_z = rng.random((4, 3)), BinaryCrossEntropy(), values(z)
    yes, no = (1 / (1 + each(lambda v, s=s: (s * v).exp(), v_z)) for s in (-1, 1))
    logs = each(lambda v: v.log(), yes), each(lambda v: v.log(), no)
    loss = -(targets * logs[0] + (1 - targets) * logs[1]).sum() / z.size
    assert loss.data == pytest.approx(binary.forward(z, targets), rel=1e-13)
    loss.backward()
    agree({"z": (v_z, binary.backward())})


@three_seeds
def test_regression_losses(seed):
    rng = np.random.default_rng(seed)
    predictions, targets = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))

    def size(r):
        return r.relu() + (-r).relu()

    def huber(r):  # a branch: only the side that ran is recorded
        return r * r / 2 if abs(r.data) <= 0.7 else 0.7 * (size(r) - 0.35)

    for criterion, cost in [
        (MeanSquaredError(), lambda r: r**2),
        (MeanAbsoluteError(), size),
        (Huber(delta=0.7), huber),
    ]:
        v_p = values(predictions)
        loss = each(cost, v_p - targets).sum() / predictions.size
        assert loss.data == pytest.approx(criterion.forward(predictions, targets), rel=1e-13)
        loss.backward()
        agree({type(criterion).__name__: (v_p, criterion.backward())})


@three_seeds
def test_embedding(seed):
    rng = np.random.default_rng(seed)
    weight, ids = rng.standard_normal((5, 3)), np.array([[0, 2], [2, 4], [2, 0]])
    layer, dy = Embedding(weight), rng.standard_normal((3, 2, 3))
    y, v_weight = layer.forward(ids), values(weight)
    layer.backward(dy)
    ours = v_weight[ids]
    np.testing.assert_array_equal(data(ours), y)
    (ours * dy).sum().backward()
    agree({"weight": (v_weight, layer.grads["weight"])})


@three_seeds
def test_the_two_layer_network_of_backpropagation(seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((4, 3)), rng.integers(0, 3, 4)
    arrays = [rng.standard_normal(shape) for shape in [(5, 3), (5,), (3, 5), (3,)]]
    kept = two_layer_forward(x, labels, *arrays)
    v_x, w1, b1, w2, b2 = (values(array) for array in (x, *arrays))
    z1 = v_x @ w1.T + b1
    h = each(FORMULAS[relu], z1)
    z2 = h @ w2.T + b2
    loss = cross_entropy_of(z2, labels)
    assert loss.data == pytest.approx(kept.loss, rel=1e-13)
    loss.backward()
    ours = {"z2": z2, "w2": w2, "b2": b2, "h": h, "z1": z1, "w1": w1, "b1": b1, "x": v_x}
    theirs = two_layer_backward(kept)
    agree({name: (ours[name], theirs[name]) for name in theirs})


@three_seeds
def test_the_reverse_mode_of_the_chain_rule(seed):
    rng = np.random.default_rng(seed)
    w1, w2, x = rng.standard_normal((4, 3)), rng.standard_normal((2, 4)), rng.standard_normal(3)
    dy, v_x = rng.standard_normal(2), values(x)
    ours = w2 @ each(FORMULAS[tanh], w1 @ v_x)
    (ours * dy).sum().backward()
    agree({"x": (v_x, vjp([Affine(w1), Elementwise(tanh), Affine(w2)], x, dy).derivative)})


def test_what_one_digit_costs(rng):
    x, labels = load_digits()
    x, label = x[:1].astype(float), labels[:1]
    shapes = [(32, 64), (32,), (10, 32), (10,)]
    arrays = [rng.standard_normal(shape) / 8 for shape in shapes]
    parameters = [values(array) for array in arrays]
    assert sum(array.size for array in arrays) == 2410
    hidden = each(FORMULAS[relu], values(x) @ parameters[0].T + parameters[1])
    loss = cross_entropy_of(hidden @ parameters[2].T + parameters[3], label)
    order = loss.graph()
    # Leaves: inputs, parameters and the N of the mean. Then a product and a sum for each weight,
    # 32 relus, and of the cross-entropy ten powers, nine sums, a logarithm, a minus, the mean.
    assert len(order) == 64 + 2410 + 1 + 2 * (64 * 32 + 32 * 10) + 32 + 10 + 9 + 1 + 1 + 1
    assert len(order) == 7265
    one = sys.getsizeof(loss) + sys.getsizeof(loss.inputs) + sum(map(sys.getsizeof, (1.5, 1.5)))
    assert one > 100
    kept = two_layer_forward(x, label, *arrays)
    assert sum(array.size for array in (kept.x, kept.slope, kept.h, kept.p)) == 138
    loss.backward()
    theirs = two_layer_backward(kept)
    names = zip(("w1", "b1", "w2", "b2"), parameters, strict=True)
    agree({name: (v, theirs[name]) for name, v in names})


def test_a_chain_longer_than_pythons_stack():
    x = Value(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    assert sys.getrecursionlimit() < 20_000
    y.backward()
    assert (y.data, x.grad, len(y.graph())) == (20_001, 1, 40_001)


def test_many_paths_are_walked_once():
    x = Value(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert (x.grad, len(y.graph())) == (2.0**60, 61)


def test_pitfall_a_reused_node_counted_once():
    a, b = Value(2.0), Value(3.0)
    y = (a + b) * b
    y.grad = 1.0
    for value in reversed(y.graph()):
        for used, slope in value.inputs:
            used.grad = value.grad * slope
    assert b.grad == 3
    a.grad = b.grad = 0.0
    y.backward()
    assert (a.grad, b.grad) == (3, 8)


def test_pitfall_gradients_that_pile_up():
    w = Value(0.0)
    seen = []
    for _ in range(3):
        ((w - 3.0) ** 2).backward()
        seen.append(w.grad)
    assert seen == [-6, -12, -18]
    # One graph, gone through twice: leaves add up, the values between do not.
    w.grad = 0.0
    r = w - 3.0
    loss = r**2
    for total in (-6, -12):
        loss.backward()
        assert (w.grad, r.grad, loss.grad) == (total, -6, 1)
    w.backward()
    assert w.grad == -12 + 1  # a leaf that is the result itself adds up too
    # And what it does to a training: the sum of all gradients overshoots and swings for ever.
    furthest = {}
    for cure in (False, True):
        w = Value(0.0)
        path = []
        for _ in range(60):
            if cure:
                w.grad = 0.0
            ((w - 3.0) ** 2).backward()
            w.data -= 0.1 * w.grad
            path.append(abs(w.data - 3))
        furthest[cure] = max(path[-20:])
    assert furthest[True] < 1e-3
    assert furthest[False] > 2.5


def test_pitfall_a_value_changed_after_it_was_used():
    w = Value(2.0)
    y = w * w
    w.data = 10.0
    y.backward()
    assert (y.data, w.grad) == (4, 4)
    w.grad = 0.0
    y = w * w
    y.backward()
    assert (y.data, w.grad) == (100, 20)


def test_bad_numbers():
    one = Value(1)
    assert isinstance(one.data, float)
    for bad in ("1", None, np.ones(2), 1j, one):
        with pytest.raises(TypeError, match="data must be a number, got"):
            Value(bad)
        with pytest.raises(TypeError, match="derivative must be a number, got"):
            Value(1.0, [(one, bad)])
    for operation in (one.__add__, one.__sub__, one.__mul__, one.__truediv__):
        with pytest.raises(TypeError, match="other must be a number, got str"):
            operation("1")
    for bad in ("2", one):
        with pytest.raises(TypeError, match="exponent must be a number, got"):
            one**bad
    assert one.grad == 0
    for number in (True, 1, np.int64(1), np.float32(1), np.float64(1)):
        for made in (Value(number), one * number, number * one, one + (number - one)):
            assert isinstance(made.data, float)
            assert made.data == 1


def test_numbers_outside_of_what_an_operation_takes():
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="log needs a number above 0, got"):
            Value(bad).log()
    with pytest.raises(ValueError, match=r"exponent of a negative number must be whole, got 0\.5"):
        Value(-2.0) ** 0.5
    for division in (lambda x: 1 / x, lambda x: x / x, lambda x: x**-1, lambda x: x**0.5):
        with pytest.raises(ZeroDivisionError):
            division(Value(0.0))
    for overflow in (lambda x: x.exp(), lambda x: x**200):
        with pytest.raises(OverflowError):
            overflow(Value(1000.0))
