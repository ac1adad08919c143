import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar

from lexicon.architectures.mlp import mlp
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_loss, numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.regression_loss import Huber, MeanAbsoluteError, MeanSquaredError
from lexicon.training.gradient_descent import GradientDescent

amounts = arrays(np.float64, (4, 3), elements=st.floats(-100, 100).map(lambda v: round(v, 6)))
deltas = st.floats(0.01, 50)
TRIPS = np.array([4.0, 5.0, 6.0, 8.0, 60.0])

every_loss = pytest.mark.parametrize(
    "loss", [MeanSquaredError(), MeanAbsoluteError(), Huber(2.0)], ids=["MSE", "MAE", "Huber"]
)


def gradient(loss, p, y):
    loss.forward(p, y)
    return loss.backward()


def best_constant(loss, y):
    """Halve the interval in which the slope turns from falling to rising."""
    low, high = y.min(), y.max()
    for _ in range(60):
        middle = (low + high) / 2
        if gradient(loss, np.full_like(y, middle), y).sum() > 0:
            high = middle
        else:
            low = middle
    return low


def test_by_hand():
    p, y = np.array([5.0, 6.0, 3.0, 13.0]), np.full(4, 5.0)
    for loss, prices, slopes in [
        (MeanSquaredError(), [0, 1, 4, 64], [0, 2, -4, 16]),
        (MeanAbsoluteError(), [0, 1, 2, 8], [0, 1, -1, 1]),
        (Huber(2.0), [0, 0.5, 2, 14], [0, 1, -2, 2]),
    ]:
        assert loss.forward(p, y) == sum(prices) / 4
        np.testing.assert_array_equal(4 * loss.backward(), slopes)
        assert [loss.forward(p[n : n + 1], y[n : n + 1]) for n in range(4)] == prices
    assert (69 / 4, 11 / 4, 16.5 / 4) == (17.25, 2.75, 4.125)


def test_gradient_alone(rng):
    # Away from the kinks: at residual 0 of the absolute loss, and at ±δ Huber's slope bends.
    p, y = 3 * rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    r = p - y
    assert 0.3 < (abs(r) < 1.5).mean() < 0.7
    assert min(abs(r).min(), abs(abs(r) - 1.5).min()) > 1e-3
    assert check_loss(MeanSquaredError(), p, y) < 1e-8
    assert check_loss(MeanAbsoluteError(), p, y) < 1e-8
    assert check_loss(Huber(1.5), p, y) < 1e-8
    assert check_loss(Huber(1.5), p[:, 0], y[:, 0]) < 1e-8


@every_loss
def test_gradient_behind_a_network(loss, rng):
    x, y = rng.standard_normal((5, 3)), 2 * rng.standard_normal((5, 2))
    network = Sequential(
        [
            Linear(rng.standard_normal((4, 3)), rng.standard_normal(4)),
            Activation(tanh),
            Linear(rng.standard_normal((2, 4)), rng.standard_normal(2)),
        ]
    )

    def whole():
        return loss.forward(network.forward(x), y)

    whole()
    analytic = {"x": network.backward(loss.backward()), **network.grads}
    for name, theta in {"x": x, **network.params}.items():
        assert relative_error(analytic[name], numerical_gradient(whole, theta)) < 1e-8


@given(amounts, amounts, deltas)
def test_matches_scipy_and_scikit_learn(p, y, delta):
    theirs = sklearn.metrics.mean_squared_error(y, p)
    assert MeanSquaredError().forward(p, y) == pytest.approx(theirs, rel=1e-12)
    theirs = sklearn.metrics.mean_absolute_error(y, p)
    assert MeanAbsoluteError().forward(p, y) == pytest.approx(theirs, rel=1e-12)
    theirs = scipy.special.huber(delta, p - y).mean()
    assert Huber(delta).forward(p, y) == pytest.approx(theirs, rel=1e-12)


@every_loss
@given(p=amounts, y=amounts, order=st.permutations(range(4)))
def test_the_loss_is_the_mean_over_samples_and_outputs(loss, p, y, order):
    value, dp = loss.forward(p, y), loss.backward()
    alone = [loss.forward(p[n : n + 1, j], y[n : n + 1, j]) for n in range(4) for j in range(3)]
    assert value == pytest.approx(np.mean(alone), rel=1e-12)
    assert loss.forward(p.reshape(12), y.reshape(12)) == value
    np.testing.assert_array_equal(gradient(loss, p[order], y[order]), dp[order])
    # Only the difference counts, and its sign only for the gradient.
    assert loss.forward(y, p) == value >= 0
    np.testing.assert_array_equal(loss.backward(), -dp)
    assert loss.forward(p, p) == 0
    np.testing.assert_array_equal(loss.backward(), np.zeros((4, 3)))


@given(amounts, amounts)
def test_huber_lies_between_the_other_two(p, y):
    squared, absolute = MeanSquaredError().forward(p, y), MeanAbsoluteError().forward(p, y)
    assert Huber(1e3).forward(p, y) == pytest.approx(squared / 2, rel=1e-12)
    assert Huber(1e-9).forward(p, y) / 1e-9 == pytest.approx(absolute, rel=1e-6, abs=1e-8)
    for delta in 0.1, 1.0, 10.0:
        value = Huber(delta).forward(p, y)
        assert value <= min(squared / 2, delta * absolute) + 1e-9
        assert np.abs(Huber(delta).forward(p, y) - value) == 0
        assert np.abs(gradient(Huber(delta), p, y)).max() <= delta / 12 + 1e-15


def test_huber_is_smooth_where_its_pieces_meet():
    loss = Huber(2.0)
    for r in 2.0, -2.0:
        inside, outside = (np.array([r * factor]) for factor in (1 - 1e-9, 1 + 1e-9))
        near = loss.forward(inside, np.zeros(1)), loss.forward(outside, np.zeros(1))
        np.testing.assert_allclose(near, 2, rtol=1e-8)
        assert gradient(loss, inside, np.zeros(1)) == pytest.approx(r, rel=1e-8)
        assert gradient(loss, outside, np.zeros(1)) == r


def test_the_best_constant_is_mean_median_or_another():
    assert best_constant(MeanSquaredError(), TRIPS) == pytest.approx(16.6, rel=1e-9)
    assert TRIPS.mean() == 16.6
    assert best_constant(MeanAbsoluteError(), TRIPS) == pytest.approx(np.median(TRIPS), rel=1e-9)
    for delta, expected in [(2.0, 19 / 3), (0.01, 6), (1000.0, 16.6)]:
        found = best_constant(Huber(delta), TRIPS)
        assert found == pytest.approx(expected, abs=0.01)
        theirs = minimize_scalar(
            lambda m, delta=delta: scipy.special.huber(delta, m - TRIPS).sum(), bounds=(4, 60)
        )
        assert found == pytest.approx(theirs.x, abs=0.02)
    # Between the two middle ones of an even number all are equally good, and nothing pulls.
    for m in 5.1, 5.5, 5.9:
        p = np.full(4, m)
        assert MeanAbsoluteError().forward(p, TRIPS[:4]) == pytest.approx(1.25, rel=1e-12)
        assert gradient(MeanAbsoluteError(), p, TRIPS[:4]).sum() == 0


def test_hubers_best_need_not_lie_between_median_and_mean():
    y = np.array([1.0, 1.0, 5.0, 6.0, 12.0])
    assert (np.median(y), y.mean()) == (5, 5)
    assert best_constant(Huber(3.0), y) == pytest.approx(4, rel=1e-9)
    np.testing.assert_allclose(5 * gradient(Huber(3.0), np.full(5, 4.0), y), [3, 3, -1, -2, -3])


def test_at_its_kink_the_absolute_loss_does_not_pull():
    np.testing.assert_array_equal(gradient(MeanAbsoluteError(), TRIPS, TRIPS), np.zeros(5))
    p = TRIPS + np.array([0, 1e-12, -1e-12, 0, 0])
    np.testing.assert_allclose(gradient(MeanAbsoluteError(), p, TRIPS), [0, 0.2, -0.2, 0, 0])


@every_loss
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_type_stays_and_nothing_is_changed(loss, dtype):
    p, y = np.array([[1, 2], [3, 300]], dtype), np.array([[1, 4], [2, -300]], dtype)
    kept = p.copy(), y.copy()
    value = loss.forward(p, y)
    assert type(value) is float
    # 600² would overflow in float16.
    assert value == loss.forward(p.astype(np.float64), y.astype(np.float64))
    assert gradient(loss, p, y).dtype == dtype
    np.testing.assert_array_equal(p, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    # What is kept is not the caller's array: it may be filled anew before backward.
    loss.forward(p, y)
    p[:], y[:] = 0, 7
    np.testing.assert_array_equal(loss.backward(), gradient(loss, *kept))


def test_pitfall_one_outlier_owns_the_mse():
    p = np.full(5, 7.0)
    pulls = [[1.2, 0.8, 0.4, -0.4, -21.2], [0.2, 0.2, 0.2, -0.2, -0.2], [0.4, 0.4, 0.2, -0.2, -0.4]]
    losses = [MeanSquaredError(), MeanAbsoluteError(), Huber(2.0)]
    for loss, expected in zip(losses, pulls, strict=True):
        np.testing.assert_allclose(gradient(loss, p, TRIPS), expected, rtol=1e-12)
    far = np.append(TRIPS[:4], 6000.0)
    moved = [best_constant(loss, far) - best_constant(loss, TRIPS) for loss in losses]
    np.testing.assert_allclose(moved, [5940 / 5, 0, 0], atol=1e-6)
    assert best_constant(MeanSquaredError(), far) > 1000


def test_pitfall_a_line_and_one_outlier():
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 10)[:, None]
    y = 2 + 2 * x + 0.15 * rng.standard_normal((10, 1))
    y[8] = -3
    slopes = []
    for loss in MeanSquaredError(), MeanAbsoluteError(), Huber(1.0):
        line = Linear(np.zeros((1, 1)))
        for step in range(2000):
            loss.forward(line.forward(x), y)
            line.backward(loss.backward())
            for name, theta in line.params.items():
                theta -= 0.3 / (1 + step / 100) * line.grads[name]
        slopes.append(line.params["weight"].item())
    assert slopes[0] < 1 < 1.6 < slopes[2] < slopes[1] < 2.1


@every_loss
def test_pitfall_a_column_against_a_row(loss):
    p, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 3.0])
    assert (p - y).shape == (3, 3)
    with pytest.raises(ValueError, match=r"targets must be \(3, 1\) like predictions, got \(3,\)"):
        loss.forward(p, y)
    assert loss.forward(p, y[:, None]) == 0
    # Spread out, every prediction is drawn to all targets: where all are the mean, nothing pulls.
    spread = gradient(loss, np.full((3, 3), 2.0), np.tile(y, (3, 1)))
    np.testing.assert_array_equal(spread.sum(axis=1), np.zeros(3))


def test_pitfall_the_unit_of_the_target():
    p = np.full(5, 7.0)
    squared = gradient(MeanSquaredError(), p, TRIPS)
    np.testing.assert_allclose(gradient(MeanSquaredError(), 60 * p, 60 * TRIPS), 60 * squared)
    # The same δ for seconds makes Huber the absolute loss; 60 δ makes it what it was.
    seconds = gradient(Huber(2.0), 60 * p, 60 * TRIPS)
    np.testing.assert_allclose(seconds, 2 * gradient(MeanAbsoluteError(), p, TRIPS))
    cured = gradient(Huber(120.0), 60 * p, 60 * TRIPS)
    np.testing.assert_allclose(cured, 60 * gradient(Huber(2.0), p, TRIPS))
    assert best_constant(Huber(2.0), 60 * TRIPS) / 60 == pytest.approx(6.0, abs=0.02)
    assert best_constant(Huber(120.0), 60 * TRIPS) / 60 == pytest.approx(19 / 3, rel=1e-9)


def test_pitfall_a_network_that_learnt_with_minutes_learns_nothing_with_seconds():
    x = np.linspace(-1, 1, 20)[:, None]
    y = 7 + 2 * np.sin(3 * x)
    for seed in range(3):
        left = {}
        for unit, cure in (1, 1), (60, 1), (60, 60):
            network = mlp([1, 16, 1], rng=np.random.default_rng(seed), dtype=np.float64)
            loss, optimizer = MeanSquaredError(), GradientDescent(network, learning_rate=0.01)
            for _ in range(200):
                value = loss.forward(network.forward(x), y * unit / cure)
                network.backward(loss.backward())
                optimizer.step()
            left[unit, cure] = value / (unit / cure) ** 2 / y.var()  # 1 is what the mean misses
        assert left[1, 1] < 0.5
        assert left[60, 60] == pytest.approx(left[1, 1], rel=1e-6)
        assert left[60, 1] > 0.99


def test_pitfall_the_absolute_loss_never_slows_down():
    paths = []
    for loss in MeanAbsoluteError(), Huber(1.0):
        p, path = np.zeros(1), []
        for _ in range(20):
            p = p - 0.75 * gradient(loss, p, np.ones(1))
            path.append(p[0])
        paths.append(path)
    assert paths[0] == [0.75, 1.5] * 10
    assert paths[1][:2] == [0.75, 0.9375]
    assert paths[1][-1] == pytest.approx(1, abs=1e-9)


@every_loss
def test_bad_input_leaves_everything_as_it_was(loss):
    fresh = Huber() if isinstance(loss, Huber) else type(loss)()
    with pytest.raises(RuntimeError, match="forward first"):
        fresh.backward()
    p, y = np.array([1.0, 2.0]), np.array([0.5, 4.0])
    expected = gradient(loss, p, y)
    loss.forward(p, y)
    with pytest.raises(TypeError, match="predictions must be floating point, got int64"):
        loss.forward(np.array([1, 2]), np.array([1, 2]))
    for bad in (np.float32, np.int64, bool):
        with pytest.raises(TypeError, match="targets must be float64 like predictions, got"):
            loss.forward(p, y.astype(bad))
    for shape in (), (1,), (3,), (1, 2), (2, 1):
        with pytest.raises(ValueError, match=r"targets must be \(2,\) like predictions, got"):
            loss.forward(p, np.zeros(shape))
    for shape in (0,), (0, 3), (3, 0):
        with pytest.raises(ValueError, match="predictions must hold at least one number, got"):
            loss.forward(np.zeros(shape), np.zeros(shape))
    for bad in (np.nan, np.inf, -np.inf):
        for pair in ([1.0, bad], y), (p, np.array([bad, 4.0])), ([bad, 2.0], np.array([bad, 2.0])):
            with pytest.raises(ValueError, match="predictions and targets must be finite"):
                loss.forward(np.array(pair[0]), pair[1])
    with pytest.raises(ValueError, match="so must their difference"):
        loss.forward(np.array([3e38], np.float32), np.array([-3e38], np.float32))
    np.testing.assert_array_equal(loss.backward(), expected)
    with pytest.raises(RuntimeError, match="one for each backward"):
        loss.backward()


def test_bad_delta():
    for delta in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="delta must be above 0 and finite, got"):
            Huber(delta)
    assert Huber().delta == 1
    # A limit taken from an array is a NumPy float64; the gradient stays float32 all the same.
    p = np.array([1, 5], np.float32)
    dp = gradient(Huber(np.float64(2)), p, np.zeros(2, np.float32))
    assert dp.dtype == np.float32
    np.testing.assert_array_equal(dp, [0.5, 1])
