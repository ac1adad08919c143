from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.training.learning_rate_schedule import cosine, step_decay, warm_up
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train

SEEDS = range(200, 205)  # the page's five runs
rates = st.floats(1e-6, 10)
steps = st.integers(0, 1000)


def test_by_hand():
    # The two tables of the page: peak 0.4, seven steps in all.
    dropped = [step_decay(t, peak=0.4, at=(4, 6), factor=0.5) for t in range(8)]
    np.testing.assert_array_equal(dropped, [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1])
    fall = partial(cosine, peak=0.4, start=3, end=7)
    warmed = [warm_up(t, end=3, then=fall) for t in range(8)]
    wave = [0.2 + 0.2 * np.sqrt(0.5), 0.2, 0.2 - 0.2 * np.sqrt(0.5)]
    np.testing.assert_allclose(warmed, [0.1, 0.2, 0.3, 0.4, *wave, 0.0], rtol=1e-14)
    np.testing.assert_array_equal(np.round(warmed, 3)[4:7], [0.341, 0.2, 0.059])


@settings(max_examples=20)
@given(rates, st.lists(st.integers(1, 1000), min_size=1, max_size=4, unique=True), st.data())
def test_step_decay_at_its_boundaries(peak, at, data):
    at = sorted(at)
    factor = data.draw(st.floats(0.05, 0.95))
    schedule = partial(step_decay, peak=peak, at=at, factor=factor)
    assert schedule(0) == schedule(at[0] - 1) == peak
    for k, boundary in enumerate(at, 1):
        assert schedule(boundary - 1) == pytest.approx(peak * factor ** (k - 1), rel=1e-12)
        assert schedule(boundary) == pytest.approx(peak * factor**k, rel=1e-12)
    assert schedule(10**6) == schedule(at[-1])


def test_the_usual_drop_is_to_a_tenth():
    assert step_decay(5, peak=1.0, at=[5]) == 0.1
    assert step_decay(5, peak=1.0, at=np.array([5, 9])) == 0.1


@settings(max_examples=20)
@given(rates, st.integers(0, 300), st.integers(1, 300), st.floats(0, 1))
def test_cosine_at_its_boundaries(peak, start, length, share):
    end, floor = start + length, share * peak
    schedule = partial(cosine, peak=peak, start=start, end=end, floor=floor)
    assert schedule(0) == schedule(start) == peak
    assert schedule(end) == schedule(end + 1) == schedule(10 * end) == floor
    path = np.array([schedule(t) for t in range(start, end + 1)])
    assert (np.diff(path) <= 1e-15).all()
    if share < 0.99:
        assert floor < path[-2]
    # Half a wave: what is lost by step t is what is left at the mirrored step.
    np.testing.assert_allclose(path + path[::-1], peak + floor, rtol=1e-12)


def test_cosine_as_published():
    # Loshchilov and Hutter (2017), equation 5, without restarts.
    t = np.arange(51)
    published = 0.01 + 0.5 * (0.5 - 0.01) * (1 + np.cos(t / 50 * np.pi))
    ours = [cosine(step, peak=0.5, end=50, floor=0.01) for step in t]
    np.testing.assert_allclose(ours, published, rtol=1e-13)


@settings(max_examples=20)
@given(rates, st.integers(1, 400))
def test_the_mean_rate_of_a_cosine(peak, end):
    mean = np.mean([cosine(t, peak=peak, end=end) for t in range(end)])
    assert mean == pytest.approx(peak * (end + 1) / (2 * end), rel=1e-9)


@settings(max_examples=20)
@given(rates, st.integers(0, 300))
def test_warm_up_at_its_boundaries(peak, end):
    schedule = partial(warm_up, end=end, then=lambda step: peak)
    assert schedule(0) == pytest.approx(peak / (end + 1), rel=1e-14) != 0
    assert schedule(end) == schedule(end + 1) == schedule(10 * end) == peak
    path = np.array([schedule(t) for t in range(end + 1)])
    assert (path[:-1] < peak).all()
    np.testing.assert_allclose(np.diff(path), peak / (end + 1), rtol=1e-9, atol=1e-12 * peak)


@settings(max_examples=20)
@given(steps, st.integers(0, 100))
def test_warm_up_scales_the_schedule_it_is_given_and_shifts_nothing(step, end):
    drops = partial(step_decay, peak=1.0, at=(50, 200))
    share = min(1, (step + 1) / (end + 1))
    assert warm_up(step, end=end, then=drops) == pytest.approx(share * drops(step), rel=1e-14)
    assert warm_up(step, end=0, then=drops) == drops(step)
    assert warm_up(60, end=99, then=drops) == pytest.approx(0.61 * 0.1, rel=1e-14)


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_train_takes_every_rate_once_from_step_0(kind, rng):
    weight = np.zeros((2, 1))
    layer = Linear(weight) if kind == "dense" else CSRLinear(csr_array(np.ones((2, 1))))
    seen = []

    class Watching(StochasticGradientDescent):
        def step(self):
            seen.append(self.learning_rate)
            super().step()

    schedule = partial(warm_up, end=2, then=partial(cosine, peak=0.3, end=6))
    x, labels = np.zeros((6, 1)), np.zeros(6, int)
    optimizer = Watching(layer, learning_rate=1.0)
    train(layer, optimizer, x, labels, epochs=2, batch_size=2, rng=rng, schedule=schedule)
    assert seen == [schedule(step) for step in range(6)]
    assert min(seen) > 0


def spread(schedule, start=10.0, curvature=1.0, noise=1.0):
    """Mean and variance of θ after steps along a noisy slope κθ, in closed form."""
    mean, variance = start, 0.0
    for rate in schedule:
        mean *= 1 - rate * curvature
        variance = (1 - rate * curvature) ** 2 * variance + (rate * noise) ** 2
    return mean, variance


def test_the_jitter_of_a_constant_rate_and_what_decay_makes_of_it(rng):
    for rate, curvature, noise in ((0.5, 1.0, 1.0), (0.02, 3.0, 2.0)):
        _, variance = spread([rate] * 5000, 10.0, curvature, noise)
        settled = rate * noise**2 / (curvature * (2 - rate * curvature))
        assert variance == pytest.approx(settled, rel=1e-9)
    # The page's table: 100 steps, distance 10 at the start, curvature and noise 1.
    falling = [cosine(t, peak=0.5, end=100) for t in range(100)]
    rows = {"high": [0.5] * 100, "low": [0.01] * 100, "cosine": falling}
    left = {
        name: [abs(mean), var**0.5] for name, row in rows.items() for mean, var in [spread(row)]
    }
    np.testing.assert_array_equal(np.round(left["high"], 2), [0.0, 0.58])
    np.testing.assert_array_equal(np.round(left["low"], 2), [3.66, 0.07])
    np.testing.assert_array_equal(np.round(left["cosine"], 2), [0.0, 0.17])
    # The recursion itself, against 4,000 walkers.
    theta = np.full(4000, 10.0)
    for rate in falling:
        theta -= rate * (theta + rng.standard_normal(4000))
    assert theta.mean() == pytest.approx(0, abs=0.01)
    assert theta.std() == pytest.approx(left["cosine"][1], rel=0.05)


@cache
def trained(schedule, ink=1.0):
    """Final accuracy and mean jump between the last four epochs, of each of the page's runs."""
    digits, labels = load_digits()
    last, jumps = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, truth, *apart = stratified_split(ink * digits, labels, rng=rng)
        network = mlp([64, 32, 32, 32, 32, 10], rng=rng)
        optimizer = StochasticGradientDescent(network, learning_rate=0.1)
        settings = {"epochs": 8, "batch_size": 64, "rng": rng, "validation": apart}
        history = train(network, optimizer, x, truth, schedule=schedule, **settings)
        last.append(history[-1].validation)
        jumps.append(np.abs(np.diff([epoch.validation for epoch in history[-4:]])).mean())
    return np.array(last), np.mean(jumps)


falling = cache(lambda peak: partial(cosine, peak=peak, end=160))
flat = cache(lambda peak: lambda step: peak)
warmed = partial(warm_up, end=40, then=falling(0.3))


def test_on_digits_decay_calms_and_forgives_a_high_rate():
    (flat_last, flat_jumps), (last, jumps) = trained(flat(0.3)), trained(falling(0.3))
    assert last.mean() > flat_last.mean() + 0.02
    assert jumps < flat_jumps / 4
    assert trained(falling(0.5))[0].mean() > trained(flat(0.5))[0].mean() + 0.1


def test_on_digits_decay_costs_accuracy_where_the_rate_is_low():
    assert trained(flat(0.05))[0].mean() > trained(falling(0.05))[0].mean() + 0.03


def test_on_digits_warm_up_saves_a_steep_start_and_gains_nothing_on_a_fair_one():
    cold, warm = trained(falling(0.3), ink=4.0)[0], trained(warmed, ink=4.0)[0]
    assert warm.mean() > cold.mean() + 0.15
    cold, warm = trained(falling(0.3))[0], trained(warmed)[0]
    assert abs(warm.mean() - cold.mean()) < 0.03


def test_pitfall_a_warm_up_that_begins_at_0_wastes_a_step():
    layer = Linear(np.ones((2, 1)))
    before = layer.params["weight"].copy()
    rng = np.random.default_rng(0)
    x, labels = np.ones((1, 1)), np.array([0])
    optimizer = StochasticGradientDescent(layer, learning_rate=1.0)
    settings = {"epochs": 1, "batch_size": 1, "rng": rng}
    train(layer, optimizer, x, labels, schedule=lambda t: 0.3 * t / 3, **settings)
    np.testing.assert_array_equal(layer.params["weight"], before)
    ours = partial(warm_up, end=3, then=lambda t: 0.3)
    train(layer, optimizer, x, labels, schedule=ours, **settings)
    assert (layer.params["weight"] != before).all()
    assert [ours(t) for t in range(5)] == pytest.approx([0.075, 0.15, 0.225, 0.3, 0.3])


def read(schedule, calls=1):
    rng = np.random.default_rng(0)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 32, 10], rng=rng)
    optimizer = StochasticGradientDescent(network, learning_rate=0.1)
    for call in range(calls):
        part = partial(schedule, call) if calls > 1 else schedule
        train(
            network, optimizer, x, labels,
            epochs=8 // calls, batch_size=64, rng=rng, schedule=part,
        )  # fmt: skip
    return accuracy(network, x_test, labels_test), optimizer.learning_rate


def test_pitfall_epochs_where_steps_are_meant():
    short, rate = read(partial(cosine, peak=0.3, end=8))
    assert short < 0.6
    assert rate == 0  # and has been since step 8 of the first epoch
    whole, rate = read(partial(cosine, peak=0.3, end=160))
    assert whole > 0.9
    assert rate > 0


def test_pitfall_every_call_of_train_counts_from_0():
    whole = partial(cosine, peak=0.3, end=160)
    _, again = read(lambda call, step: whole(step), calls=8)
    assert again == whole(19)  # the last rate of the eighth epoch is that of the first
    assert again > 0.28
    _, carried = read(lambda call, step: whole(20 * call + step), calls=8)
    assert carried == whole(159)


@pytest.mark.parametrize("bad", [-1, np.nan])
def test_bad_steps(bad):
    calls = [
        partial(step_decay, peak=0.1, at=[1]),
        partial(cosine, peak=0.1, end=5),
        partial(warm_up, end=2, then=lambda step: 0.1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="step must be 0 or above, got"):
            call(bad)


@pytest.mark.parametrize("bad", [0, -0.1, np.inf, np.nan])
def test_bad_peaks(bad):
    with pytest.raises(ValueError, match="peak must be above 0 and finite, got"):
        step_decay(0, peak=bad, at=[1])
    with pytest.raises(ValueError, match="peak must be above 0 and finite, got"):
        cosine(0, peak=bad, end=5)


def test_bad_settings():
    for at in ([], [0], [5, 5], [6, 5], [-1, 3]):
        with pytest.raises(ValueError, match="at must be ascending steps from 1 on"):
            step_decay(0, peak=0.1, at=at)
    for factor in (0, 1, 1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"factor must be in \(0, 1\), got"):
            step_decay(0, peak=0.1, at=[1], factor=factor)
    for start, end in ((-1, 5), (5, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="start must be 0 or above and before end, got"):
            cosine(0, peak=0.1, start=start, end=end)
    for floor in (-0.01, 0.11, np.nan):
        with pytest.raises(ValueError, match="floor must be 0 to peak, got"):
            cosine(0, peak=0.1, end=5, floor=floor)
    for end in (-1, np.nan):
        with pytest.raises(ValueError, match="end must be 0 or above, got"):
            warm_up(0, end=end, then=lambda step: 0.1)
