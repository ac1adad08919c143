from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, loguniform, norm
from scipy.stats import uniform as scipy_uniform

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.training.hyperparameter_search import (
    Trial,
    expected_best,
    grid,
    log_uniform,
    sample,
    search,
    uniform,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def test_by_hand():
    # The page's six trials: three rates, two decays.
    candidates = grid({"rate": [0.01, 0.1, 1.0], "decay": [0.0, 0.001]})
    assert candidates[:3] == [
        {"rate": 0.01, "decay": 0.0},
        {"rate": 0.01, "decay": 0.001},
        {"rate": 0.1, "decay": 0.0},
    ]
    assert len(candidates) == 6
    table = {0.01: 0.5, 0.1: 0.9, 1.0: 0.1}
    trials = search(lambda rate, decay: table[rate] - decay, candidates)
    assert trials[0] == Trial({"rate": 0.1, "decay": 0.0}, 0.9)
    assert [trial.score for trial in trials] == [0.9, 0.899, 0.5, 0.499, 0.1, 0.099]
    # Of nine pairs of 1, 2, 3, the better is 1 once, 2 three times, 3 five times.
    assert expected_best([3, 1, 2], 2) == pytest.approx(22 / 9, rel=1e-15)


@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=3), min_size=1
    )
)
def test_grid_is_the_product_of_its_values(values):
    ours = grid(values)
    assert all(list(setting) == list(values) for setting in ours)
    assert [tuple(setting.values()) for setting in ours] == list(product(*values.values()))


@settings(max_examples=20)
@given(st.floats(1e-6, 1e3), st.floats(1.1, 1e6), st.integers(0, 99))
def test_log_uniform_is_that_of_scipy(low, factor, seed):
    high = low * factor
    draw, rng = log_uniform(low, high), np.random.default_rng(seed)
    drawn = np.array([draw(rng) for _ in range(60)])
    assert ((low <= drawn) & (drawn <= high)).all()
    assert kstest(drawn, loguniform(low, high).cdf).pvalue > 1e-5


@settings(max_examples=20)
@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 99))
def test_uniform_is_that_of_scipy(low, width, seed):
    draw, rng = uniform(low, low + width), np.random.default_rng(seed)
    drawn = np.array([draw(rng) for _ in range(60)])
    assert kstest(drawn, scipy_uniform(low, width).cdf).pvalue > 1e-5
    assert drawn.min() >= low
    assert isinstance(draw(rng), float)


def test_each_decade_is_as_likely():
    rng = np.random.default_rng(0)
    draw = log_uniform(1e-4, 1.0)
    decades = np.floor(np.log10([draw(rng) for _ in range(20_000)])).astype(int)
    np.testing.assert_allclose(np.bincount(decades + 4) / 20_000, 0.25, atol=0.012)


def test_sample_is_reproducible_and_independent():
    ranges = {
        "rate": log_uniform(1e-4, 1),
        "width": lambda rng: int(rng.integers(1, 9)),
        "p": uniform(0, 1),
    }
    few = sample(ranges, 3, rng=np.random.default_rng(1))
    many = sample(ranges, 400, rng=np.random.default_rng(1))
    assert many[:3] == few
    assert [list(setting) for setting in few] == [["rate", "width", "p"]] * 3
    assert len({setting["rate"] for setting in many}) == 400
    columns = np.array([[np.log(s["rate"]), s["width"], s["p"]] for s in many]).T
    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.15


def test_search_ranks_ties_in_order_and_diverged_trials_last():
    def score(a):
        if a == 0:
            raise FloatingPointError("diverged")
        return {1: 0.5, 2: float("nan"), 3: 0.5, 4: 0.7}[a]

    trials = search(score, ({"a": a} for a in range(5)))
    assert [trial.settings["a"] for trial in trials] == [4, 1, 3, 0, 2]
    assert [trial.score for trial in trials] == [0.7, 0.5, 0.5, -np.inf, -np.inf]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.integers(1, 5), st.randoms())
def test_expected_best_laws(scores, k, shuffle):
    best = expected_best(scores, k)
    assert min(scores) - 1e-12 <= best <= max(scores) + 1e-12
    assert expected_best(scores, 1) == pytest.approx(np.mean(scores), abs=1e-12)
    assert expected_best(scores, k + 1) >= best - 1e-12
    assert expected_best(scores, 10_000) == pytest.approx(max(scores), abs=1e-9)
    shuffle.shuffle(scores)
    assert expected_best(np.array(scores), k) == pytest.approx(best, abs=1e-12)
    if len(scores) ** k <= 4096:  # every way to draw k of them
        everything = np.mean([max(drawn) for drawn in product(scores, repeat=k)])
        assert best == pytest.approx(everything, abs=1e-9)


def test_the_best_of_k_normal_scores_as_tabulated():
    # Published means of the largest of 2, 10 and 100 standard normal numbers.
    scores = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    for k, stated in ((2, 0.5642), (10, 1.5388), (100, 2.5076)):
        exact, _ = quad(lambda z, k=k: z * k * norm.pdf(z) * norm.cdf(z) ** (k - 1), -8, 8)
        assert exact == pytest.approx(stated, abs=1e-4)
        assert expected_best(scores, k) == pytest.approx(stated, abs=1e-3)


def nearest_at_random(n):
    return (n + 3) / (2 * (n + 1) * (n + 2))


def test_distance_to_the_best_value_in_one_dimension_that_matters(rng):
    # The page's table: share of the range between the best value and the nearest that was tried.
    for n, values, on_grid, at_random in [
        (4, 4, 0.0625, 0.117),
        (9, 3, 0.083, 0.055),
        (27, 3, 0.083, 0.018),
    ]:
        assert 1 / (4 * values) == pytest.approx(on_grid, abs=0.0005)
        assert nearest_at_random(n) == pytest.approx(at_random, abs=0.0005)
        best = rng.random((20_000, 1))
        middles = (np.arange(values) + 0.5) / values
        measured = np.abs(best - middles).min(axis=1).mean()
        assert measured == pytest.approx(1 / (4 * values), rel=0.03)
        measured = np.abs(best - rng.random((20_000, n))).min(axis=1).mean()
        assert measured == pytest.approx(nearest_at_random(n), rel=0.03)
    # With one dimension the grid wins; two make them about equal for 4 trials.
    assert 1 / (4 * 4) < nearest_at_random(4) < 1 / (4 * 2)
    # 1 / 2n for many trials, where a grid of n values has 1 / 4n.
    assert nearest_at_random(10_000) * 2 * 10_000 == pytest.approx(1, rel=1e-3)


def test_where_both_dimensions_matter_the_grid_is_nearer(rng):
    best = rng.random((4000, 1, 2))
    middles = (np.arange(3) + 0.5) / 3
    on_grid = [tuple(setting.values()) for setting in grid({"a": middles, "b": middles})]
    near_grid = np.linalg.norm(best - np.array(on_grid), axis=2).min(axis=1).mean()
    # The mean distance from the middle of a square of side 1/3 to its points.
    assert near_grid == pytest.approx((np.sqrt(2) + np.log(1 + np.sqrt(2))) / 18, rel=0.03)
    near_random = np.linalg.norm(best - rng.random((4000, 9, 2)), axis=2).min(axis=1).mean()
    assert near_random > 1.25 * near_grid


@cache
def digits(seed, chooses=60):
    x, labels, rest, truth = stratified_split(
        *load_digits(), rng=np.random.default_rng(seed), test_fraction=0.85
    )
    return (x, labels), (rest[:chooses], truth[:chooses]), (rest[chooses:], truth[chooses:])


def trained(seed, learning_rate, decay=0.0, bias=0.0, start=0):
    network = mlp([64, 16, 10], rng=np.random.default_rng(start))
    network.params["0.bias"][:] = bias
    optimizer = Momentum(network, learning_rate=learning_rate, weight_decay=decay)
    again = np.random.default_rng(start)
    train(network, optimizer, *digits(seed)[0], epochs=4, batch_size=32, rng=again)
    return network


def winners(seed, values, idle):
    """Accuracy on unused digits of what each kind of search chose."""
    rng = np.random.default_rng(seed)
    low = 10 ** rng.uniform(-5, -2)
    spans = [(low, 1e5 * low), (1e-7, 1e-3), (1e-4, 1e-2)][: 1 + idle]
    names = ["learning_rate", "decay", "bias"][: 1 + idle]
    middles = (np.arange(values) + 0.5) / values
    even = {name: a * (b / a) ** middles for name, (a, b) in zip(names, spans, strict=True)}
    drawn = {name: log_uniform(a, b) for name, (a, b) in zip(names, spans, strict=True)}
    _, chooses, unused = digits(seed)
    n = values ** len(names)
    return [
        accuracy(trained(seed, **best.settings), *unused)
        for candidates in (grid(even), sample(drawn, n, rng=rng))
        for best in search(lambda **s: accuracy(trained(seed, **s), *chooses), candidates)[:1]
    ]


def test_on_digits_random_is_ahead_with_two_idle_dimensions():
    won = np.array([winners(seed, values=3, idle=2) for seed in range(100, 105)])
    assert won[:, 1].mean() > won[:, 0].mean() + 0.03
    assert won[:, 1].min() > won[:, 0].min() + 0.05


def test_on_digits_the_grid_is_ahead_where_only_the_rate_is_searched():
    won = np.array([winners(seed, values=3, idle=0) for seed in range(300, 312)])
    assert won[:, 0].mean() > won[:, 1].mean() + 0.02


def optimism(seed):
    """Twenty trainings that differ in their seed alone; the first accuracy is the winner's own."""
    _, chooses, unused = digits(seed)
    networks = [trained(seed, 0.1, start=start) for start in range(20)]
    candidates = [{"start": start} for start in range(20)]
    best = search(lambda start: accuracy(networks[start], *chooses), candidates)[0]
    fresh = [accuracy(network, *unused) for network in networks]
    return best.score, fresh[best.settings["start"]], np.mean(fresh)


def test_pitfall_best_of_many_is_optimistic():
    promised, kept, mean = np.mean([optimism(seed) for seed in range(200, 205)], axis=0)
    assert promised > kept + 0.02  # it was lucky
    assert kept > mean  # and good as well


def test_pitfall_a_rate_drawn_on_a_linear_scale():
    rng = np.random.default_rng(0)
    even, log = uniform(1e-4, 1.0), log_uniform(1e-4, 1.0)
    assert np.mean([even(rng) > 0.1 for _ in range(4000)]) == pytest.approx(0.9, abs=0.02)
    assert np.mean([log(rng) > 0.1 for _ in range(4000)]) == pytest.approx(0.25, abs=0.03)
    assert np.mean([even(rng) < 0.01 for _ in range(4000)]) == pytest.approx(0.01, abs=0.006)
    assert np.mean([log(rng) < 0.01 for _ in range(4000)]) == pytest.approx(0.5, abs=0.03)


def test_pitfall_more_tries_for_ones_own_method():
    scores = [0.70, 0.74, 0.78, 0.80, 0.81, 0.83]  # one method, six random trials
    assert expected_best(scores, 1) == pytest.approx(0.777, abs=0.0005)
    assert expected_best(scores, 10) == pytest.approx(0.827, abs=0.0005)


def test_bad_input():
    for bad in ({}, {"a": []}, {"a": [1], "b": []}):
        with pytest.raises(ValueError, match="values must name at least one value each, got"):
            grid(bad)
    for low, high in ((1, 1), (2, 1), (-np.inf, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match="low must be below high, both finite, got"):
            uniform(low, high)
    for low, high in ((0, 1), (-1, 1), (1, 1), (2, 1), (1, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match="low must be above 0 and below high, finite, got"):
            log_uniform(low, high)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match="ranges must name at least one value to draw"):
        sample({}, 1, rng=rng)
    for n in (0, -1):
        with pytest.raises(ValueError, match="n must be at least 1, got"):
            sample({"a": uniform(0, 1)}, n, rng=rng)
    assert rng.bit_generator.state == state
    with pytest.raises(ValueError, match="candidates must hold at least one setting"):
        search(lambda: 1.0, [])
    for scores in ([], [1.0, np.nan], [np.inf], [[1.0, 2.0]], 3.0):
        with pytest.raises(ValueError, match="scores must be a vector of finite numbers, got"):
            expected_best(scores, 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        expected_best([1.0], 0)
    with pytest.raises(KeyError):  # other errors are not taken for a divergence
        search(lambda a: {}[a], [{"a": 1}])
