from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import norm
from scipy.sparse import csr_array

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.adam import Adam
from lexicon.training.gradient_clipping import Clipping, clip_norm, clip_value
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

numbers = arrays(np.float64, 6, elements=st.floats(-1e6, 1e6, allow_subnormal=False))
limits = st.floats(1e-3, 1e3)


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b / (norm(a) * norm(b)), -1, 1)))


def vector(*values):
    return SimpleNamespace(params={"theta": np.array(values)}, grads={})


def test_by_hand():
    for gradient, length, by_norm, by_value, bent in [
        ([3.0, 4.0], 5.0, [0.6, 0.8], [1.0, 1.0], 8),
        ([0.3, 0.4], 0.5, [0.3, 0.4], [0.3, 0.4], 0),
        ([1.0, 100.0], 100.005, [0.01, 0.99995], [1.0, 1.0], 44),
        ([-3.0, 0.5], 3.0414, [-0.9864, 0.1644], [-1.0, 0.5], 17),
    ]:
        ours, other = {"theta": np.array(gradient)}, {"theta": np.array(gradient)}
        assert clip_norm(ours, 1.0) == pytest.approx(length, abs=1e-4)
        np.testing.assert_allclose(ours["theta"], by_norm, atol=5e-5)
        clip_value(other, 1.0)
        np.testing.assert_array_equal(other["theta"], by_value)
        assert angle(np.array(gradient), other["theta"]) == pytest.approx(bent, abs=0.6)


def test_by_hand_the_norm_is_that_of_all_gradients_together():
    grads = {"weight": np.array([[2.0, 4.0]]), "bias": np.array([4.0])}
    weight = grads["weight"]
    assert clip_norm(grads, 3.0) == 6.0
    assert grads["weight"] is weight
    np.testing.assert_allclose(weight, [[1.0, 2.0]], rtol=1e-15)
    np.testing.assert_allclose(grads["bias"], [2.0], rtol=1e-15)


@given(numbers, limits)
def test_by_norm_scipys_norm_is_returned_and_the_direction_kept(gradient, limit):
    grads = {"a": gradient[:2].copy(), "b": gradient[2:].reshape(2, 2).copy()}
    before = norm(gradient)
    assert clip_norm(grads, limit) == pytest.approx(before, rel=1e-12)
    clipped = np.concatenate([grads["a"], grads["b"].ravel()])
    if before <= limit:
        np.testing.assert_array_equal(clipped, gradient)
    else:
        np.testing.assert_allclose(clipped, gradient * (limit / before), rtol=1e-12)
        assert norm(clipped) == pytest.approx(limit, rel=1e-12)
    again = clipped.copy()
    clip_norm({"all": again}, limit)  # a second time changes nothing but the last digit
    np.testing.assert_allclose(again, clipped, rtol=1e-12)


@given(numbers, limits)
def test_by_value_no_number_is_too_large_and_none_goes_uphill(gradient, limit):
    grads = {"all": gradient.copy()}
    clip_value(grads, limit)
    clipped = grads["all"]
    assert np.abs(clipped).max() <= limit
    inside = np.abs(gradient) <= limit
    np.testing.assert_array_equal(clipped[inside], gradient[inside])
    np.testing.assert_array_equal(clipped[~inside], limit * np.sign(gradient[~inside]))
    assert (clipped * gradient >= 0).all()


@pytest.mark.parametrize("size", [1e-30, 1e30, 3e38])
def test_float32_squares_neither_overflow_nor_vanish(size):
    g = np.full(16, size, np.float32)
    assert clip_norm({"g": g}, size) == pytest.approx(4 * size, rel=1e-6)
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, size / 4, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_float64_squares_neither_overflow_nor_vanish(size):
    g = np.full(4, size)
    assert clip_norm({"g": g}, size) == pytest.approx(2 * size, rel=1e-12)
    np.testing.assert_allclose(g, size / 2, rtol=1e-12)


def test_float32_keeps_its_digits_under_a_tiny_factor():
    g = np.array([3e38, 1e38], np.float32)
    clip_norm({"g": g}, 1e-7)
    np.testing.assert_allclose(g, 1e-7 * np.array([3, 1]) / np.sqrt(10), rtol=1e-6)


def test_the_norm_of_many_float32_numbers_has_the_digits_of_float64(rng):
    g = rng.standard_normal(10_000).astype(np.float32)
    exact = norm(g.astype(np.float64))
    assert clip_norm({"g": g}, 1.0) == pytest.approx(exact, rel=1e-12)


def test_a_sparse_gradient_counts_by_what_it_stores():
    grads = {"rows": csr_array([[0.0, 3.0], [0.0, 0.0]]), "bias": np.array([4.0])}
    assert clip_norm(grads, 2.5) == 5
    np.testing.assert_allclose(grads["rows"].toarray(), [[0, 1.5], [0, 0]])
    np.testing.assert_allclose(grads["bias"], [2.0])
    clip_value(grads, 1.0)
    np.testing.assert_allclose(grads["rows"].toarray(), [[0, 1], [0, 0]])
    grads["rows"].data[:] = np.nan
    with pytest.raises(FloatingPointError, match="gradient of rows is not finite"):
        clip_norm(grads, 1.0)


def test_the_sparse_gradient_of_an_embedding_is_clipped_like_the_dense_one():
    tables = []
    for sparse in False, True:
        embedding = Embedding(np.ones((5, 2), np.float32), sparse=sparse)
        inside = GradientDescent(embedding, learning_rate=0.5)
        optimizer = Clipping(embedding, inside, max_norm=1.0)
        embedding.forward(np.array([1, 3, 1]))
        embedding.backward(np.full((3, 2), 2, np.float32))  # rows 4, 4 and 2, 2
        optimizer.step()
        assert optimizer.norms == [pytest.approx(np.sqrt(40), rel=1e-6)]
        tables.append(embedding.params["weight"])
    np.testing.assert_array_equal(*tables)
    expected = 1 - 0.5 * np.array([0, 4, 0, 2, 0]) / np.sqrt(40)
    np.testing.assert_allclose(tables[1][:, 0], expected, rtol=1e-6)


def test_nothing_and_zeros_pass():
    assert clip_norm({}, 1.0) == 0.0
    grads = {"a": np.zeros(3), "b": np.zeros(0)}
    assert clip_norm(grads, 1.0) == 0.0
    clip_value(grads, 1.0)
    np.testing.assert_array_equal(grads["a"], np.zeros(3))


def test_a_chain_of_fifty_factors_as_the_page_has_it():
    network = Sequential([Linear(np.array([[1.1]])) for _ in range(50)])
    y = network.forward(np.ones((1, 1)))
    assert y[0, 0] == pytest.approx(117, abs=0.5)
    network.backward(y - 1)
    gradient = sum(network.grads[f"{i}.weight"][0, 0] for i in range(50))  # one w, used 50 times
    assert gradient == pytest.approx((1.1**50 - 1) * 50 * 1.1**49, rel=1e-12)
    assert gradient == pytest.approx(620_000, abs=2000)
    for clipped, landed in (False, -620), (True, 1.099):
        model = vector(1.1)
        model.grads["theta"] = np.array([gradient])
        optimizer = GradientDescent(model, learning_rate=0.001)
        (Clipping(model, optimizer, max_norm=1.0) if clipped else optimizer).step()
        assert model.params["theta"][0] == pytest.approx(landed, abs=0.5 if not clipped else 1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_no_step_is_longer_than_the_limit_allows(rng, beta):
    model = vector(*np.zeros(5))
    optimizer = Clipping(model, Momentum(model, learning_rate=0.1, beta=beta), max_norm=2.0)
    longest = 0.0
    for step in range(200):
        size = 10 ** rng.uniform(-3, 6)
        model.grads["theta"] = size * (np.ones(5) if step > 100 else rng.standard_normal(5))
        before = model.params["theta"].copy()
        optimizer.step()
        longest = max(longest, norm(model.params["theta"] - before))
    bound = 0.1 * 2.0 / (1 - beta)
    assert 0.6 * bound < longest <= bound * (1 + 1e-12)
    assert len(optimizer.norms) == 200
    assert max(optimizer.norms) > 1e4


def descend(loss_scale, max_norm, learning_rate):
    model = vector(3.0, 4.0)
    inside = GradientDescent(model, learning_rate=learning_rate)
    optimizer = Clipping(model, inside, max_norm=max_norm)
    for _ in range(10):
        model.grads["theta"] = loss_scale * model.params["theta"]
        optimizer.step()
    return model.params["theta"]


def test_pitfall_a_limit_that_is_always_active_is_normalised_descent():
    usual = descend(1.0, 0.1, 0.1)
    np.testing.assert_allclose(usual, np.array([3.0, 4.0]) * (5 - 10 * 0.1 * 0.1) / 5, rtol=1e-12)
    np.testing.assert_allclose(descend(10.0, 0.1, 0.1), usual, rtol=1e-12)
    np.testing.assert_allclose(descend(1.0, 1.0, 0.1), descend(1.0, 0.1, 1.0), rtol=1e-12)
    free = descend(1.0, 100.0, 0.1)  # never active: plain descent, and the scale counts again
    np.testing.assert_allclose(free, np.array([3.0, 4.0]) * 0.9**10, rtol=1e-12)


def test_pitfall_by_value_one_large_number_bends_by_almost_a_right_angle():
    gradient = np.ones(10_000)
    gradient[0] = 1e6
    for clip, bent in (clip_norm, 0), (clip_value, 89):
        grads = {"g": gradient.copy()}
        clip(grads, 1.0)
        assert angle(grads["g"], gradient) == pytest.approx(bent, abs=0.5)
    # Layer by layer by norm bends the whole as well.
    grads = {"first": np.array([30.0]), "second": np.array([40.0, 0.0])}
    for name in grads:
        clip_norm({name: grads[name]}, 1.0)
    whole = np.concatenate([*grads.values()])
    np.testing.assert_allclose(whole, [1, 1, 0])
    assert angle(whole, np.array([30.0, 40.0, 0.0])) > 8


def test_pitfall_the_history_shows_the_norm_after_clipping():
    rng = np.random.default_rng(0)
    network = mlp([64, 32, 10], rng=rng)
    optimizer = Clipping(network, GradientDescent(network, learning_rate=0.1), max_norm=0.1)
    history = train(network, optimizer, *load_digits(), epochs=2, batch_size=32, rng=rng)
    assert [epoch.gradient_norm for epoch in history] == pytest.approx([0.1, 0.1], rel=1e-5)
    assert min(optimizer.norms) > 0.3


def bad_image(seed, max_norm, bright=1000.0):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    x[0] *= bright
    labels[0] = (labels[0] + 1) % 10
    network = mlp([64, 32, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    if max_norm:
        optimizer = Clipping(network, optimizer, max_norm=max_norm)
    train(network, optimizer, x, labels, epochs=8, batch_size=32, rng=rng)
    return accuracy(network, x_test, labels_test), getattr(optimizer, "norms", None)


def test_one_bad_image_ruins_most_runs_without_clipping_and_none_with_it():
    assert len(stratified_split(*load_digits(), rng=np.random.default_rng(0))[0]) == 1258
    without = [bad_image(seed, None)[0] for seed in range(6)]
    clipped = [bad_image(seed, 2.0) for seed in range(6)]
    assert np.mean(without) < 0.75
    assert sum(right < 0.8 for right in without) >= 4
    assert min(right for right, _ in clipped) > 0.92
    for _, norms in clipped:
        norms = np.array(norms)
        assert 0.01 < (norms > 2.0).mean() < 1 / 30
        assert (norms > 150 * np.median(norms)).sum() > 0.5 * (norms > 2.0).sum()


def test_a_limit_far_too_low_learns_too_slowly_and_a_wrong_label_alone_does_no_harm():
    right, norms = bad_image(0, 0.01)
    assert right < 0.6
    assert min(norms) > 0.01
    assert np.median(norms) > 0.5  # some fifty times the limit
    right, norms = bad_image(0, 2.0, bright=1.0)
    assert right > 0.92
    assert np.mean(np.array(norms) > 2.0) < 0.02


def test_adam_is_disturbed_for_long_by_one_huge_gradient_and_not_if_it_is_clipped():
    def after(clipped):
        model = vector(0.0)
        optimizer = Adam(model, learning_rate=0.1)
        if clipped:
            optimizer = Clipping(model, optimizer, max_norm=1.0)
        for step in range(200):
            model.grads["theta"] = np.array([1e4 if step == 100 else 1.0])
            optimizer.step()
        return -model.params["theta"][0]

    assert after(clipped=True) == pytest.approx(200 * 0.1, rel=1e-6)
    assert after(clipped=False) < 0.8 * 200 * 0.1


def test_a_sparse_network_trains_and_rewires():
    rng = np.random.default_rng(0)
    network = sparse_mlp([64, 32, 10], density=0.2, rng=rng)
    inside = Momentum(network, learning_rate=0.1)
    optimizer = Clipping(network, inside, max_norm=1.0)
    seen = []

    def rewire(_):
        before = inside.velocity["0.weight"].copy()
        rewire_network(network, optimizer, fraction=0.2, rng=rng)
        seen.append((before != inside.velocity["0.weight"]).any())

    data = load_digits()
    history = train(network, optimizer, *data, epochs=5, batch_size=32, rng=rng, after_epoch=rewire)
    assert history[-1].loss < 0.4
    assert all(seen)  # follow reached the optimiser inside


def test_the_learning_rate_is_that_of_the_optimiser_inside():
    model = vector(1.0)
    model.grads["theta"] = np.array([0.5])
    inside = GradientDescent(model, learning_rate=0.5)
    optimizer = Clipping(model, inside, max_norm=1.0)
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = 0.25
    assert inside.learning_rate == 0.25
    optimizer.step()
    assert model.params["theta"][0] == 1 - 0.25 * 0.5


def test_follow_reaches_the_optimiser_inside():
    model = vector(1.0, 2.0)
    inside = Momentum(model, learning_rate=0.1)
    inside.velocity["theta"][:] = [5.0, 7.0]
    Clipping(model, inside, max_norm=1.0).follow("theta", np.array([1, -1]))
    np.testing.assert_array_equal(inside.velocity["theta"], [7.0, 0.0])


def test_a_gradient_that_is_not_finite_changes_nothing():
    for bad in np.nan, np.inf, -np.inf:
        model = SimpleNamespace(params={"a": np.ones(2), "b": np.ones(2)}, grads={})
        model.grads = {"a": np.array([5.0, 5.0]), "b": np.array([1.0, bad])}
        inside = Momentum(model, learning_rate=0.1)
        optimizer = Clipping(model, inside, max_norm=1.0)
        for call in (
            lambda grads: clip_norm(grads, 1.0),
            lambda grads: clip_value(grads, 1.0),
            lambda _: optimizer.step(),  # noqa: B023
        ):
            with pytest.raises(FloatingPointError, match="gradient of b is not finite"):
                call(model.grads)
        np.testing.assert_array_equal(model.grads["a"], [5.0, 5.0])
        np.testing.assert_array_equal(model.params["a"], [1.0, 1.0])
        np.testing.assert_array_equal(inside.velocity["a"], [0.0, 0.0])
        assert optimizer.norms == []


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_bad_limits(bad):
    grads = {"g": np.array([5.0])}
    with pytest.raises(ValueError, match="max_norm must be above 0 and finite, got"):
        clip_norm(grads, bad)
    with pytest.raises(ValueError, match="max_value must be above 0 and finite, got"):
        clip_value(grads, bad)
    with pytest.raises(ValueError, match="max_norm must be above 0 and finite, got"):
        Clipping(vector(1.0), GradientDescent(vector(1.0), learning_rate=0.1), max_norm=bad)
    np.testing.assert_array_equal(grads["g"], [5.0])


def test_a_step_before_any_backward_is_refused_by_the_optimiser_inside():
    model = vector(1.0)
    optimizer = Clipping(model, GradientDescent(model, learning_rate=0.1), max_norm=1.0)
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()
    assert model.params["theta"][0] == 1.0
    assert optimizer.norms == []  # one for each step that was taken
