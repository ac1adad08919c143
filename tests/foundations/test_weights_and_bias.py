import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.gradient_check import numerical_gradient, relative_error
from lexicon.foundations.neuron import Neuron
from lexicon.foundations.weights_and_bias import (
    Boundary,
    boundary,
    nearest_point,
    signed_distance,
    signed_distance_gradients,
)

parts = st.floats(-10, 10).map(lambda value: round(value, 3))
weights = arrays(np.float64, 3, elements=parts).filter(lambda w: np.abs(w).max() > 0.1)
biases = arrays(np.float64, 1, elements=parts)
batches = arrays(np.float64, (4, 3), elements=parts)


def by_hand():
    return np.array([3.0, 4.0]), np.array([-10.0])


def learn(neuron, x, target, steps, *, has_bias=True):
    """Descend the cross-entropy, for which dz is what was said minus what is true."""
    for _ in range(steps):
        dz = (neuron.forward(x) - target) / x.dtype.type(len(x))
        neuron.params["weight"] -= x.T @ dz
        neuron.params["bias"] -= has_bias * dz.sum()
    return neuron.params["weight"], neuron.params["bias"]


def test_by_hand():
    weight, bias = by_hand()
    found = boundary(weight, bias)
    assert isinstance(found, Boundary)
    np.testing.assert_allclose(found.direction, [0.6, 0.8], rtol=1e-15)
    assert (found.offset, found.steepness) == (2, 5)
    x = np.array([[6.0, 3.0], [2.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(x @ weight + bias, [20, 0, -10])
    np.testing.assert_array_equal(signed_distance(x, weight, bias), [4, 0, -2])
    expected = [[3.6, -0.2], [2, 1], [1.2, 1.6]]
    np.testing.assert_allclose(nearest_point(x, weight, bias), expected, atol=1e-15)


def test_one_step_of_learning_by_hand():
    weight, bias = by_hand()
    x = np.array([[2.0, 1.0]])
    neuron = Neuron(weight, bias)
    assert neuron.forward(x) == 0.5
    neuron.backward(np.array([-0.5]) / 0.25)  # the sigmoid's slope there is 1/4: dz = -0.5
    np.testing.assert_array_equal(neuron.grads["weight"], [-1, -0.5])
    np.testing.assert_array_equal(neuron.grads["bias"], [-0.5])
    table = {}
    for name, dw, db in [
        ("before", 0, 0),
        ("bias", 0, 1),
        ("weights", 1, 0),
        ("both", 1, 1),
    ]:
        w = weight - dw * neuron.grads["weight"]
        b = bias - db * neuron.grads["bias"]
        (across, up), offset, _ = boundary(w, b)
        angle = np.degrees(np.arctan2(up, across))
        table[name] = angle.round(1), round(offset, 2), signed_distance(x, w, b)[0].round(2)
    assert table == {
        "before": (53.1, 2.0, 0.0),
        "bias": (53.1, 1.9, 0.1),
        "weights": (48.4, 1.66, 0.42),
        "both": (48.4, 1.58, 0.5),
    }


def test_gradients(rng):
    for sizes in (1, 5), (4, 2), (6, 3):
        x, weight = rng.standard_normal(sizes), rng.standard_normal(sizes[1])
        bias, dd = rng.standard_normal(1), rng.standard_normal(sizes[0])
        dx, dw, db = signed_distance_gradients(x, weight, bias, dd)

        def loss(x=x, weight=weight, bias=bias, dd=dd):
            return signed_distance(x, weight, bias) @ dd

        for analytic, theta in (dx, x), (dw, weight), (db, bias):
            assert relative_error(analytic, numerical_gradient(loss, theta)) < 1e-8


def test_the_gradient_by_hand():
    weight, bias = by_hand()
    dx, dw, db = signed_distance_gradients(np.array([[6.0, 3.0]]), weight, bias, np.ones(1))
    np.testing.assert_allclose(dx, [[0.6, 0.8]], rtol=1e-15)
    np.testing.assert_allclose(dw, [0.72, -0.04], rtol=1e-13)  # (3.6, -0.2) / 5
    np.testing.assert_allclose(db, [0.2], rtol=1e-15)


@given(batches, weights, biases)
def test_the_nearest_point_is_on_the_boundary_and_straight_across(x, weight, bias):
    direction, offset, steepness = boundary(weight, bias)
    points, distance = nearest_point(x, weight, bias), signed_distance(x, weight, bias)
    np.testing.assert_allclose(points @ weight + bias, 0, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(x - points, axis=1), abs(distance), atol=1e-10)
    # z = ‖w‖ (x u - c), and the offset is the distance of the origin, seen from the boundary.
    np.testing.assert_allclose(steepness * (x @ direction - offset), x @ weight + bias, atol=1e-9)
    assert offset == pytest.approx(-signed_distance(np.zeros((1, 3)), weight, bias)[0], abs=1e-12)
    # Any way along the boundary is at a right angle to the direction.
    assert np.abs((points - points[0]) @ direction).max() < 1e-10


@given(batches, weights, biases, st.sampled_from([0.5, 3.0, 100.0]))
def test_a_common_factor_is_steepness_and_nothing_else(x, weight, bias, factor):
    before, after = boundary(weight, bias), boundary(factor * weight, factor * bias)
    np.testing.assert_allclose(after.direction, before.direction, atol=1e-14)
    assert after.offset == pytest.approx(before.offset, rel=1e-12)
    assert after.steepness == pytest.approx(factor * before.steepness, rel=1e-12)
    same = signed_distance(x, factor * weight, factor * bias)
    np.testing.assert_allclose(same, signed_distance(x, weight, bias), rtol=1e-11, atol=1e-11)
    # So no gradient of a distance asks for one.
    _, dw, db = signed_distance_gradients(x, weight, bias, np.ones(4))
    assert abs(dw @ weight + db @ bias) < 1e-9
    # A negative factor swaps the sides.
    np.testing.assert_allclose(signed_distance(x, -weight, -bias), -same, rtol=1e-11, atol=1e-11)


@given(weights, biases, parts)
def test_the_bias_shifts_and_does_not_turn(weight, bias, more):
    before, after = boundary(weight, bias), boundary(weight, bias + more)
    np.testing.assert_array_equal(after.direction, before.direction)
    shift = after.offset - before.offset
    assert shift == pytest.approx(-more / np.linalg.norm(weight), rel=1e-9, abs=1e-9)


@given(batches, weights, biases, st.permutations(range(4)))
def test_samples_do_not_see_each_other(x, weight, bias, order):
    distance = signed_distance(x, weight, bias)
    np.testing.assert_allclose(signed_distance(x[order], weight, bias), distance[order], atol=1e-12)


def test_no_point_of_the_boundary_is_nearer_says_scipy(rng):
    weight, bias, x = rng.standard_normal(3), rng.standard_normal(1), rng.standard_normal((3, 3))
    for sample, point in zip(x, nearest_point(x, weight, bias), strict=True):
        found = minimize(
            lambda p, sample=sample: ((p - sample) ** 2).sum(),
            np.zeros(3),
            constraints={"type": "eq", "fun": lambda p: p @ weight + bias[0]},
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(point, found.x, atol=1e-6)


def test_matches_scikit_learn_on_digits():
    x, labels = load_digits()
    x, six = x[np.isin(labels, (6, 7))].astype(float), labels[np.isin(labels, (6, 7))] == 6
    theirs = LogisticRegression().fit(x, six)
    distance = signed_distance(x, theirs.coef_[0], theirs.intercept_)
    expected = theirs.decision_function(x) / np.linalg.norm(theirs.coef_)
    np.testing.assert_allclose(distance, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(distance > 0, theirs.predict(x))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_type_stays_and_nothing_is_changed(dtype):
    given = [np.array(v, dtype) for v in ([[6, 3]], [3, 4], [-10], [1])]
    x, weight, bias, dd = kept = [array.copy() for array in given]
    returned = [
        boundary(weight, bias).direction,
        signed_distance(x, weight, bias),
        nearest_point(x, weight, bias),
        *signed_distance_gradients(x, weight, bias, dd),
    ]
    assert [array.dtype for array in returned] == [dtype] * 6
    for array, copy in zip(given, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    # The squares would overflow in float16; and no bias is an offset of 0.0, not of -0.0.
    assert boundary(np.array([300, 400], np.float16), np.zeros(1, np.float16)).steepness == 500
    assert str(boundary(weight, np.zeros(1, dtype)).offset) == "0.0"


def test_pitfall_without_a_bias_the_boundary_is_nailed_to_the_origin():
    x, target = np.array([[1.0], [3.0]]), np.array([False, True])
    nailed = learn(Neuron(np.ones(1), np.zeros(1)), x, target, 2000, has_bias=False)
    assert boundary(*nailed).offset == 0
    assert (signed_distance(x, *nailed) > 0).tolist() == [True, True]
    free = learn(Neuron(np.ones(1), np.zeros(1)), x, target, 2000)
    assert (signed_distance(x, *free) > 0).tolist() == [False, True]
    assert round(boundary(*free).offset, 1) == 1.9
    # An input that is always 1 is a bias under another name.
    widened = np.array([[1.0, 1.0], [3.0, 1.0]])
    column = learn(Neuron(np.ones(2), np.zeros(1)), widened, target, 2000, has_bias=False)
    assert (signed_distance(widened, *column) > 0).tolist() == [False, True]


def test_pitfall_without_a_bias_on_digits():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        ink = np.zeros((8, 8, 2), np.float32)
        ink[4:, :, 0] = ink[:, :4, 1] = 1 / 8
        ink = ink.reshape(64, 2)
        these, unseen = np.isin(labels, (6, 7)), np.isin(labels_test, (6, 7))
        right = []
        for has_bias in True, False:
            neuron = Neuron(np.zeros(2, np.float32), np.zeros(1, np.float32))
            learned = learn(neuron, x[these] @ ink, labels[these] == 6, 1000, has_bias=has_bias)
            yes = signed_distance(x_test[unseen] @ ink, *learned) > 0
            right.append((yes == (labels_test[unseen] == 6)).mean())
        assert right[0] > 0.92
        assert right[1] < 0.85


def test_pitfall_a_score_is_not_a_distance():
    x = np.array([[6.0, 3.0]])
    weight, bias = by_hand()
    other = np.array([30.0, 40.0]), np.array([-250.0])  # a boundary that is nearer
    assert (x @ weight + bias, x @ other[0] + other[1]) == (20, 50)
    assert signed_distance(x, weight, bias) == 4
    assert signed_distance(x, *other) == 1


def test_pitfall_the_weights_grow_for_ever():
    x, target = np.array([[1.0], [3.0]]), np.array([False, True])
    neuron = Neuron(np.ones(1), np.zeros(1))
    seen = [boundary(*learn(neuron, x, target, steps)) for steps in (100, 900, 9000)]
    assert [round(found.steepness) for found in seen] == [3, 5, 8]
    assert [round(found.offset, 1) for found in seen] == [1.9, 1.9, 1.9]


def test_bad_input():
    weight, bias = by_hand()
    x, dd = np.ones((4, 2)), np.ones(4)
    for function in (
        lambda w, b: boundary(w, b),
        lambda w, b: signed_distance(x, w, b),
        lambda w, b: nearest_point(x, w, b),
        lambda w, b: signed_distance_gradients(x, w, b, dd),
    ):
        with pytest.raises(TypeError, match="weight must be floating point, got int64"):
            function(np.array([3, 4]), bias)
        for shape in (), (0,), (1, 2):
            with pytest.raises(ValueError, match=r"weight must be \(n_in ≥ 1,\), got"):
                function(np.ones(shape), bias)
        with pytest.raises(TypeError, match="bias must be float64 like weight, got float32"):
            function(weight, bias.astype(np.float32))
        for shape in (), (2,), (1, 1):
            with pytest.raises(ValueError, match=r"bias must be \(1,\), got"):
                function(weight, np.ones(shape))
        for bad in np.nan, np.inf, -np.inf:
            with pytest.raises(ValueError, match="bias must be finite, got"):
                function(weight, np.array([bad]))
            with pytest.raises(ValueError, match="weight must be finite and not all zeros"):
                function(np.array([1.0, bad]), bias)
        with pytest.raises(ValueError, match="weight must be finite and not all zeros, got leng"):
            function(np.zeros(2), bias)
    for function in (
        lambda x: signed_distance(x, weight, bias),
        lambda x: nearest_point(x, weight, bias),
        lambda x: signed_distance_gradients(x, weight, bias, dd),
    ):
        with pytest.raises(TypeError, match="x must be float64 like weight, got float32"):
            function(x.astype(np.float32))
        for shape in (2,), (0, 2), (4, 1), (4, 3), (1, 4, 2):
            with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 2\), got"):
                function(np.ones(shape))
    with pytest.raises(TypeError, match="dd must be float64 like weight, got float32"):
        signed_distance_gradients(x, weight, bias, dd.astype(np.float32))
    for shape in (), (1,), (3,), (4, 1):
        with pytest.raises(ValueError, match=r"dd must be \(4,\), got"):
            signed_distance_gradients(x, weight, bias, np.ones(shape))
