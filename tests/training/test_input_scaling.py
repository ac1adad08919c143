from math import ceil, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.input_scaling import Standardizer, curvatures
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

tables = arrays(
    np.float64, st.tuples(st.integers(2, 9), st.integers(1, 5)), elements=st.floats(-9, 9)
)


def linear_descent(given, targets, rate, steps):
    """Distance to the best weight and bias, before each step and after the last."""
    best = np.linalg.solve(np.column_stack([given, np.ones(len(given))]), targets[:, 0])
    layer = Linear(np.zeros((1, given.shape[1])))
    optimizer = GradientDescent(layer, learning_rate=rate)
    left = [np.linalg.norm(best)]
    for _ in range(steps):
        layer.backward((layer.forward(given) - targets) / len(given))
        optimizer.step()
        theta = np.append(layer.params["weight"], layer.params["bias"])
        left.append(np.linalg.norm(theta - best))
    return np.array(left)


def test_by_hand():
    x, targets = np.array([[3.0], [5.0]]), np.array([[1.0], [3.0]])
    scaling = Standardizer(x)
    assert (scaling.mean, scaling.scale) == (4, 1)
    np.testing.assert_array_equal(scaling.forward(x), [[-1], [1]])
    steep = curvatures(x)
    np.testing.assert_allclose(steep, [9 + sqrt(80), 9 - sqrt(80)], rtol=1e-12)
    assert steep == pytest.approx([17.94, 0.056], abs=0.005)
    assert steep[0] / steep[1] == pytest.approx(322, abs=0.5)
    assert 2 / steep[0] == pytest.approx(0.11, abs=0.005)
    np.testing.assert_allclose(curvatures(scaling.forward(x)), [1, 1], rtol=1e-15)
    # The best rate is 2 / (κmax + κmin) and leaves (c - 1) / (c + 1) of the distance.
    share = sqrt(80) / 9
    assert share == pytest.approx(0.994, abs=0.0005)
    assert (steep[0] - steep[1]) / (steep[0] + steep[1]) == pytest.approx(share, rel=1e-12)
    assert ceil(log(0.01) / log(share)) == 742
    # The worst start is an even mixture of both directions; from there the walk needs as many.
    vectors = np.linalg.eigh([[17, 4], [4, 1]])[1]
    worst = np.array([[3.0, 1], [5, 1]]) @ (vectors[:, 0] + vectors[:, 1])
    left = linear_descent(x, worst[:, None], 1 / 9, 750)
    assert (left[1:] / left[:-1])[:700] == pytest.approx(share, rel=1e-6)
    assert np.flatnonzero(left <= 0.01 * left[0])[0] == 742
    assert linear_descent(x, targets, 1.01 * 2 / steep[0], 700)[-1] > 100
    assert linear_descent(x, targets, 0.99 * 2 / steep[0], 700)[-1] < 0.1
    assert linear_descent(scaling.forward(x), targets, 1.0, 1)[-1] < 1e-12


def test_more_than_one_feature_by_hand():
    x = np.array([[0.0, 10, 7], [2, 10, 7], [4, 40, 7], [6, 20, 7]])
    scaling = Standardizer(x)
    np.testing.assert_array_equal(scaling.mean, [3, 20, 7])
    np.testing.assert_allclose(scaling.scale, [sqrt(5), sqrt(150), 1], rtol=1e-15)
    np.testing.assert_array_equal(scaling.constant, [False, False, True])
    np.testing.assert_array_equal(scaling.forward(x)[:, 2], 0)
    other = np.array([[3.0, 20, 9.5]])  # what was constant comes through in its own unit
    np.testing.assert_array_equal(scaling.forward(other), [[0, 0, 2.5]])
    np.testing.assert_array_equal(scaling.inverse(scaling.forward(other)), other)
    scaling.forward(other)
    np.testing.assert_allclose(
        scaling.backward(np.ones((1, 3))), [[1 / sqrt(5), 1 / sqrt(150), 1]], rtol=1e-15
    )


@given(tables)
def test_laws(x):
    kept = x.copy()
    scaling = Standardizer(x)
    y = scaling.forward(x)
    np.testing.assert_array_equal(x, kept)
    assert scaling.mean.shape == scaling.scale.shape == scaling.constant.shape == (x.shape[1],)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-7)
    spread = np.ptp(x, axis=0) > 1e-6
    np.testing.assert_allclose(y.std(axis=0)[spread], 1, rtol=1e-6)
    np.testing.assert_array_equal(scaling.constant[np.ptp(x, axis=0) == 0], True)
    assert not scaling.constant[spread].any()
    np.testing.assert_array_equal(y[:, scaling.constant & (np.ptp(x, axis=0) == 0)], 0)
    np.testing.assert_array_equal(scaling.scale[scaling.constant], 1)
    np.testing.assert_allclose(scaling.inverse(y), x, rtol=1e-12, atol=1e-12)
    # Each sample is judged alone: by numbers measured before, not by its company.
    np.testing.assert_array_equal(scaling.forward(x[:1]), y[:1])


@given(tables, st.floats(0.01, 100), st.floats(-100, 100))
def test_units_and_offsets_leave_nothing_behind(x, unit, offset):
    x = x.round(3)
    np.testing.assert_allclose(
        Standardizer(unit * x + offset).forward(unit * x + offset),
        Standardizer(x).forward(x),
        atol=1e-4,
    )


@given(tables)
def test_curvatures_are_the_eigenvalues_of_the_hessian(x):
    extended = np.column_stack([x, np.ones(len(x))])
    hessian = extended.T @ extended / len(x)
    steep = curvatures(x)
    expected = np.linalg.eigvalsh(hessian)[::-1]
    assert len(steep) <= len(expected)
    np.testing.assert_allclose(steep, expected[: len(steep)], atol=1e-12 * expected[0])
    np.testing.assert_allclose(expected[len(steep) :], 0, atol=1e-12 * expected[0])
    # Step 3 of the page: covariances, means, and a 1.
    mean = x.mean(axis=0)
    np.testing.assert_allclose(
        hessian[:-1, :-1],
        np.cov(x.T, ddof=0).reshape(len(mean), -1) + np.outer(mean, mean),
        atol=1e-10,
    )
    np.testing.assert_allclose(hessian[-1], np.append(mean, 1), atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_correlation_stays(rho, rng):
    raw = rng.standard_normal((50, 2))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / 50)).T
    x = 7 + white @ np.array([[1.0, 3 * rho], [0, 3 * sqrt(1 - rho**2)]])  # deviations 1 and 3
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(rho, abs=1e-12)
    steep = curvatures(Standardizer(x).forward(x))
    np.testing.assert_allclose(steep, sorted([1 + rho, 1 - rho, 1], reverse=True), rtol=1e-9)


def test_matches_scikit_learn(rng):
    x = rng.standard_normal((40, 6)) * [1e-3, 1, 1e3, 5, 1, 1] + [0, 1e4, 3, -2, 0, 0]
    x[:, 4] = 0.1  # whose mean in float64 is not 0.1
    theirs, ours = StandardScaler().fit(x), Standardizer(x)
    other = rng.standard_normal((7, 6))
    np.testing.assert_allclose(ours.forward(other), theirs.transform(other), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-12)
    np.testing.assert_allclose(
        ours.inverse(other), theirs.inverse_transform(other), rtol=1e-12, atol=1e-12
    )
    digits, _ = load_digits()
    digits = digits.astype(np.float64)
    np.testing.assert_allclose(
        Standardizer(digits).forward(digits),
        StandardScaler().fit_transform(digits),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_are_kept(rng, dtype):
    x = (rng.standard_normal((5, 3)) + 1000).astype(dtype)
    scaling = Standardizer(x)
    y = scaling.forward(x)
    parts = (scaling.mean, scaling.scale, y, scaling.backward(y), scaling.inverse(y))
    assert {part.dtype for part in parts} == {np.dtype(dtype)}
    assert scaling.params == scaling.grads == {}


def test_float32_is_measured_in_float64(rng):
    # A running sum in float32 loses digits with every sample.
    x = (rng.random((100_000, 3)) + 1000).astype(np.float32)
    scaling, exact = Standardizer(x), x.astype(np.float64)
    np.testing.assert_allclose(scaling.mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(scaling.scale, exact.std(axis=0), rtol=1e-6)


def test_a_spread_too_small_to_square_counts_as_constant():
    x = np.array([[1e-200], [2e-200]])
    scaling = Standardizer(x)
    assert scaling.constant
    np.testing.assert_array_equal(scaling.forward(x), x - x[0])


def test_gradients_alone_and_in_a_stack(rng):
    x = rng.standard_normal((6, 4)) * [0.1, 1, 10, 1] + [1, 2, 3, 4]
    x[:, 3] = 4
    assert max(check_layer(Standardizer(x), x, rng=rng).values()) < 1e-8
    before, after = Linear(rng.standard_normal((4, 4))), Linear(rng.standard_normal((3, 4)))
    scaling = Standardizer(before.forward(x))
    stack = Sequential([before, scaling, after, Activation(tanh)])
    errors = check_layer(stack, x, rng=rng)
    assert set(errors) == {"x", "0.weight", "0.bias", "2.weight", "2.bias"}
    assert max(errors.values()) < 1e-7


def test_digits_condition_and_the_pixels_that_are_always_blank():
    for seed in range(3):
        x, _, _, _ = stratified_split(*load_digits(), rng=np.random.default_rng(seed))
        scaling = Standardizer(x)
        raw, scaled = curvatures(x), curvatures(scaling.forward(x))
        assert raw[0] / raw[-1] > 1e6
        assert scaled[0] / scaled[-1] < 200
        # The flattest direction of raw pixels consists of nearly blank ones.
        extended = np.column_stack([x[:, ~scaling.constant], np.ones(len(x))]).astype(float)
        flattest = np.linalg.svd(extended, full_matrices=False)[2][-1]
        assert np.square(flattest[:-1][scaling.scale[~scaling.constant] < 0.05]).sum() > 0.95
    digits, _ = load_digits()
    assert Standardizer(digits).constant.sum() == 3
    assert (digits[:, Standardizer(digits).constant] == 0).all()


def test_on_digits_the_loss_arrives_sooner_and_the_accuracy_does_not():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        scaling, targets = Standardizer(x), np.eye(10, dtype=np.float32)[labels]
        excess, read = [], []
        for seen, test in (x, x_test), (scaling.forward(x), scaling.forward(x_test)):
            extended = np.column_stack([seen, np.ones(len(x))])
            best = extended @ np.linalg.lstsq(extended, targets, rcond=None)[0]
            layer = Linear(np.zeros((10, 64), np.float32))
            optimizer = GradientDescent(layer, learning_rate=float(1 / curvatures(seen)[0]))
            for _ in range(300):
                layer.backward((layer.forward(seen) - targets) / np.float32(len(x)))
                optimizer.step()
            lowest = np.sum((best - targets) ** 2)
            excess.append((np.sum((layer.forward(seen) - targets) ** 2) - lowest) / 2 / len(x))
            read.append(accuracy(layer, test, labels_test))
        assert excess[1] < excess[0] / 100
        assert abs(read[1] - read[0]) < 0.02


def leak(seed, shown, tested=400):
    """How much the test accuracy rises when the test images take part in the measuring."""
    digits, labels = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits))
    x, x_test = digits[order[:shown]], digits[order[shown : shown + tested]]
    read = []
    for measured in (x, np.concatenate([x, x_test])):
        scaling, network = Standardizer(measured), Linear(np.zeros((10, 64), np.float32))
        settings = {"batch_size": min(10, shown), "rng": np.random.default_rng(0)}
        epochs = 20 if shown < 100 else 2
        optimizer = Momentum(network, learning_rate=0.03)
        train(
            network, optimizer, scaling.forward(x), labels[order[:shown]], epochs=epochs, **settings
        )
        answers = labels[order[shown : shown + tested]]
        read.append(accuracy(network, scaling.forward(x_test), answers))
    return read[1] - read[0]


def test_pitfall_fitted_on_the_test_set_too():
    assert np.mean([leak(seed, shown=20) for seed in range(40)]) == pytest.approx(0.02, abs=0.008)
    assert abs(np.mean([leak(seed, shown=1257) for seed in range(3)])) < 0.005


def test_pitfall_test_data_scaled_by_its_own_statistics():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        scaling, network = Standardizer(x), Linear(np.zeros((10, 64), np.float32))
        optimizer = Momentum(network, learning_rate=0.03)
        train(network, optimizer, scaling.forward(x), labels, epochs=5, batch_size=32, rng=rng)
        assert accuracy(network, scaling.forward(x_test), labels_test) > 0.94

        pairs = [(x_test[i : i + 2], labels_test[i : i + 2]) for i in range(0, 538, 2)]
        own = [accuracy(network, Standardizer(a).forward(a), b) for a, b in pairs]
        assert np.mean(own) < 0.7
        cured = [accuracy(network, scaling.forward(a), b) for a, b in pairs]
        assert np.mean(cured) > 0.94
        # The lamp is dimmed: its own statistics hide it.
        dim = np.float32(0.3) * x_test
        assert accuracy(network, scaling.forward(dim), labels_test) < 0.5
        assert accuracy(network, Standardizer(dim).forward(dim), labels_test) > 0.94
        # As the first layer of the network it goes wherever the network goes.
        whole = Sequential([scaling, network])
        assert accuracy(whole, x_test, labels_test) > 0.94


def test_pitfall_a_nearly_constant_feature_is_blown_up():
    x = np.zeros((100, 1))
    x[7] = 0.25
    assert Standardizer(x).forward(x).max() == pytest.approx(sqrt(99), rel=1e-12)


def test_bad_data():
    for make in (Standardizer, curvatures):
        with pytest.raises(TypeError, match="x must be floating point, got int64"):
            make(np.ones((3, 2), dtype=np.int64))
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="x must be finite"):
                make(np.array([[1.0], [bad]]))
        for shape in ((0, 2), (3, 0), (3,), (3, 2, 2)):
            with pytest.raises(ValueError, match=r"x must be \(N ≥ \d, features\), got"):
                make(np.ones(shape))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 2, features\), got \(1, 2\)"):
        Standardizer(np.ones((1, 2)))
    np.testing.assert_allclose(curvatures(np.zeros((1, 2))), [1])
    with pytest.raises(ValueError, match="x must have a finite variance"):
        Standardizer(np.array([[1e200], [-1e200]]))


def test_bad_batches_change_nothing():
    scaling = Standardizer(np.array([[3.0, 1], [5, 2]]))
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        scaling.backward(np.ones((2, 2)))
    scaling.forward(np.ones((2, 2)))
    for name, call in (("x", scaling.forward), ("dy", scaling.backward), ("y", scaling.inverse)):
        with pytest.raises(ValueError, match=f"{name} must be"):
            call(np.ones((2, 3)))
        with pytest.raises(TypeError, match=f"{name} must be float64"):
            call(np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"dy must be \(2, 2\), got \(1, 2\)"):
        scaling.backward(np.ones((1, 2)))
    np.testing.assert_array_equal(scaling.backward(np.ones((2, 2))), [[1, 2], [1, 2]])
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        scaling.backward(np.ones((2, 2)))
