import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import normalize, scale

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm, RMSNorm
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

HAND = np.array([[-3.0, 1.0, 3.0, 5.0, 9.0]])
FIRST = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])
both = pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
quarters = st.integers(-40, 40).map(lambda i: i / 4)
batches = arrays(np.float64, (3, 4), elements=quarters)


def moved(kind, features, rng, **settings):
    """Give a layer in which no parameter is what it started from."""
    norm = kind(features, dtype=np.float64, **settings)
    for theta in norm.params.values():
        theta[:] = rng.uniform(0.5, 2, features) * rng.choice([-1, 1], features)
    return norm


def test_by_hand():
    norm, rms = (kind(5, dtype=np.float64, epsilon=1e-14) for kind in (LayerNorm, RMSNorm))
    y, dx = norm.forward(HAND), norm.backward(FIRST)
    np.testing.assert_allclose(y, [[-1.5, -0.5, 0, 0.5, 1.5]], rtol=1e-12)
    np.testing.assert_allclose(dx, [[0.0875, -0.0875, -0.05, -0.0125, 0.0625]], rtol=1e-12)
    np.testing.assert_allclose(norm.grads["scale"], [-1.5, 0, 0, 0, 0], rtol=1e-12)
    np.testing.assert_array_equal(norm.grads["shift"], FIRST[0])
    y, dx = rms.forward(HAND), rms.backward(FIRST)
    np.testing.assert_allclose(y, [[-0.6, 0.2, 0.6, 1, 1.8]], rtol=1e-12)
    np.testing.assert_allclose(dx, [[0.1856, 0.0048, 0.0144, 0.024, 0.0432]], rtol=1e-12)
    np.testing.assert_allclose(rms.grads["scale"], [-0.6, 0, 0, 0, 0], rtol=1e-12)
    assert rms.grads.keys() == rms.params.keys() == {"scale"}
    # Double the sample, and both stay; add 10, and only layer norm does.
    for changed, stays in [(2 * HAND, True), (HAND + 10, False)]:
        np.testing.assert_allclose(norm.forward(changed), norm.forward(HAND), atol=1e-12)
        assert np.allclose(rms.forward(changed), rms.forward(HAND), atol=1e-12) == stays
    norm.params["scale"][:], norm.params["shift"][:] = 2, 10
    np.testing.assert_allclose(norm.forward(HAND), [[7, 9, 10, 11, 13]], rtol=1e-12)
    rms.params["scale"][:] = 5
    np.testing.assert_allclose(rms.forward(HAND), HAND, rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 4), (1, 4), (2, 3, 4)])
def test_gradient_alone(rng, shape):
    x = 3 * rng.standard_normal(shape) + 2
    for kind, names in [(LayerNorm, {"x", "scale", "shift"}), (RMSNorm, {"x", "scale"})]:
        errors = check_layer(moved(kind, 4, rng), x, rng=rng)
        assert errors.keys() == names
        assert max(errors.values()) < 1e-7


@both
def test_gradient_in_a_stack(rng, kind):
    stack = Sequential(
        [
            Linear(rng.standard_normal((6, 4)), rng.standard_normal(6)),
            moved(kind, 6, rng),
            Activation(tanh),
            Linear(rng.standard_normal((3, 6)) / 2, rng.standard_normal(3)),
            moved(kind, 3, rng),
            Activation(tanh),
        ]
    )
    errors = check_layer(stack, 2 * rng.standard_normal((5, 4)) + 1, rng=rng)
    assert len(errors) == 5 + 2 * len(stack.layers[1].params)
    assert max(errors.values()) < 1e-6


def test_matches_scikit_learn(rng):
    x = rng.standard_normal((20, 7)) * rng.uniform(0.1, 10, (20, 1)) + rng.uniform(-5, 5, (20, 1))
    norm = moved(LayerNorm, 7, rng, epsilon=1e-14)
    expected = scale(x, axis=1) * norm.params["scale"] + norm.params["shift"]
    np.testing.assert_allclose(norm.forward(x), expected, rtol=1e-9, atol=1e-9)
    rms = moved(RMSNorm, 7, rng, epsilon=1e-14)
    expected = normalize(x, axis=1) * np.sqrt(7) * rms.params["scale"]
    np.testing.assert_allclose(rms.forward(x), expected, rtol=1e-9)


@given(batches, st.sampled_from([0.1, 3.0, 50.0]), st.integers(-9, 9))
def test_a_samples_scale_does_not_matter_and_to_layer_norm_its_offset_neither(x, factor, offset):
    norm, rms = (kind(4, dtype=np.float64, epsilon=1e-12) for kind in (LayerNorm, RMSNorm))
    y = norm.forward(x)
    np.testing.assert_allclose(norm.forward(factor * x + offset), y, atol=1e-6)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-9)
    varies = (np.ptp(x, axis=1) > 0).astype(float)
    np.testing.assert_allclose(y.var(axis=1), varies, atol=1e-6)
    y = rms.forward(x)
    np.testing.assert_allclose(rms.forward(factor * x), y, atol=1e-6)
    np.testing.assert_allclose(np.square(y).mean(axis=1), x.any(axis=1).astype(float), atol=1e-6)


@given(batches, batches)
def test_layer_norm_is_rms_norm_after_the_mean_was_taken_out(x, dy):
    norm, rms = (kind(4, dtype=np.float64) for kind in (LayerNorm, RMSNorm))
    centred = x - x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(norm.forward(x), rms.forward(centred), rtol=1e-12)
    dc = rms.backward(dy)
    expected = dc - dc.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(norm.backward(dy), expected, rtol=1e-9, atol=1e-9)


@given(batches, batches)
def test_the_gradient_asks_for_nothing_that_would_change_nothing(x, dy):
    for kind in (LayerNorm, RMSNorm):
        norm = kind(4, dtype=np.float64, epsilon=1e-12)
        norm.forward(x)
        dx = norm.backward(dy)
        unit = np.maximum(np.abs(dx).max(axis=1), 1)  # large where a sample is constant
        if kind is LayerNorm:
            np.testing.assert_allclose(dx.sum(axis=1) / unit, 0, atol=1e-9)
            x = x - x.mean(axis=1, keepdims=True)
        np.testing.assert_allclose((dx * x).sum(axis=1) / unit, 0, atol=1e-7)


@both
def test_samples_and_positions_do_not_see_each_other(rng, kind):
    x, dy = rng.standard_normal((2, 3, 2, 4))
    norm, flat = moved(kind, 4, rng), kind(4, dtype=np.float64)
    for name, theta in flat.params.items():
        theta[:] = norm.params[name]
    y, dx = norm.forward(x), norm.backward(dy)
    np.testing.assert_array_equal(y.reshape(6, 4), flat.forward(x.reshape(6, 4)))
    np.testing.assert_array_equal(dx.reshape(6, 4), flat.backward(dy.reshape(6, 4)))
    for name, gradient in norm.grads.items():
        assert gradient.shape == (4,)
        np.testing.assert_allclose(gradient, flat.grads[name], rtol=1e-12)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_array_equal(flat.forward(x[i, j][None]), y[i, j][None])
        np.testing.assert_allclose(flat.backward(dy[i, j][None]), dx[i, j][None], rtol=1e-12)


@both
def test_training_and_use_are_the_same(rng, kind):
    norm, x = moved(kind, 4, rng), rng.standard_normal((3, 4))
    y = norm.forward(x)
    with evaluating(norm):
        np.testing.assert_array_equal(norm.forward(x), y)
    for _ in range(3):
        norm.forward(rng.standard_normal((5, 4)))
    np.testing.assert_array_equal(norm.forward(x), y)
    assert not hasattr(norm, "training")


def test_epsilon_stands_under_the_root():
    np.testing.assert_allclose(
        LayerNorm(5, epsilon=9.0, dtype=np.float64).forward(HAND)[0], [-1.2, -0.4, 0, 0.4, 1.2]
    )
    np.testing.assert_allclose(
        RMSNorm(5, epsilon=11.0, dtype=np.float64).forward(HAND)[0], HAND[0] / 6, rtol=1e-12
    )
    zeros, sevens = np.zeros((2, 4), np.float32), np.full((2, 4), 7, np.float32)
    np.testing.assert_array_equal(LayerNorm(4).forward(sevens), zeros)
    np.testing.assert_array_equal(RMSNorm(4).forward(zeros), zeros)


@both
def test_the_type_stays_and_nothing_handed_in_is_changed(kind):
    for dtype in (np.float32, np.float64):
        norm = kind(3, dtype=dtype, epsilon=np.float64(1e-5))
        x = np.arange(12, dtype=dtype).reshape(4, 3) ** 2
        dy = np.ones((4, 3), dtype)
        kept = x.copy(), dy.copy()
        y = norm.forward(x)
        before = y.copy()
        arrays = [y, norm.backward(dy), *norm.params.values(), *norm.grads.values()]
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}
        np.testing.assert_array_equal([x, dy], kept)
        np.testing.assert_array_equal(y, before)
    assert kind(3).params["scale"].dtype == np.float32


def trained(layers, seed, *, learning_rate, beta):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = Sequential(layers(rng))
    optimizer = Momentum(network, learning_rate=learning_rate, beta=beta)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    return lambda change: accuracy(network, change(x_test), labels_test)


def test_in_the_deep_stack_layer_norm_does_not_do_what_batch_norm_does():
    def deep(norm):
        def layers(rng):
            parts, n_in = [], 64
            for _ in range(8):
                parts += [Linear(he_normal(n_in, 32, rng=rng)), norm(32), Activation(relu)]
                n_in = 32
            return [*parts, Linear(he_normal(32, 10, rng=rng))]

        return layers

    for seed in (300, 302, 306):
        batch, layer = (
            trained(deep(norm), seed, learning_rate=0.3, beta=0.0)(lambda x: x)
            for norm in (BatchNorm, LayerNorm)
        )
        assert layer < batch - 0.2
    # Before training: how similar two digits have become behind the eight layers.
    x = load_digits()[0][:200]
    for seed in (300, 301, 302):
        for norm, low, high in [(BatchNorm, 0, 0.4), (LayerNorm, 0.75, 1)]:
            layers = deep(norm)(np.random.default_rng(seed))
            h = normalize(Sequential(layers[:-1]).forward(x))
            cosines = h @ h.T
            assert low < cosines[~np.eye(200, dtype=bool)].mean() < high


def test_what_the_example_shows_holds_for_other_seeds():
    def shallow(*norm):
        return lambda rng: [
            *norm,
            Linear(he_normal(64, 32, rng=rng)),
            Activation(relu),
            Linear(he_normal(32, 10, rng=rng)),
        ]

    settings = {"learning_rate": 0.05, "beta": 0.9}
    for seed in (0, 301):
        layer = trained(shallow(LayerNorm(64)), seed, **settings)
        rms = trained(shallow(RMSNorm(64)), seed, **settings)
        batch = trained(shallow(BatchNorm(64)), seed, **settings)
        as_it_is = layer(lambda x: x)
        assert as_it_is > 0.93
        # Float32 rounds, and epsilon weighs more in a pale image: an image or two may differ.
        for change in (lambda x: x / 5, lambda x: x + 0.5, lambda x: x + 2):
            assert abs(layer(change) - as_it_is) < 0.005
        assert abs(rms(lambda x: x / 5) - rms(lambda x: x)) < 0.005
        assert rms(lambda x: x + 2) < rms(lambda x: x + 0.5) - 0.2 < rms(lambda x: x) - 0.2
        assert batch(lambda x: x + 0.5) < 0.3 < 0.93 < batch(lambda x: x)


def test_pitfall_the_wrong_axis():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 8.0], [7.0, 7.0, 1.0]])

    def wrong(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    right = LayerNorm(3, dtype=np.float64).forward
    assert wrong(x).shape == right(x).shape
    np.testing.assert_allclose(wrong(x)[0], [-1.225, -0.340, -0.340], atol=1e-3)
    np.testing.assert_allclose(wrong(x[:2])[0], [-1, 1, -1], atol=1e-3)
    np.testing.assert_allclose(right(x)[0], [-1.225, 0, 1.225], atol=1e-3)
    np.testing.assert_array_equal(right(x)[0], right(x[:2])[0])
    np.testing.assert_array_equal(right(x)[0], right(x[:1])[0])


def test_pitfalls_size_is_lost_and_an_offset_drowns():
    quiet = np.array([[1.0, 2.0, 6.0]])
    norm, rms = LayerNorm(3, dtype=np.float64), RMSNorm(3, dtype=np.float64)
    np.testing.assert_allclose(norm.forward(quiet), [[-0.926, -0.463, 1.389]], atol=1e-3)
    np.testing.assert_allclose(rms.forward(quiet), [[0.2705, 0.541, 1.623]], atol=1e-3)
    for layer in (norm, rms):
        np.testing.assert_allclose(layer.forward(100 * quiet), layer.forward(quiet), atol=1e-4)
    np.testing.assert_allclose(norm.forward(1000 + quiet), norm.forward(quiet), atol=1e-9)
    assert np.abs(rms.forward(1000 + quiet) - 1).max() < 0.004
    # Of two features, only which one is larger.
    two = LayerNorm(2, dtype=np.float64).forward(np.array([[3.0, 3.1], [8.0, -5.0], [2.0, 2.0]]))
    np.testing.assert_allclose(two, [[-1, 1], [1, -1], [0, 0]], atol=0.01)


def test_bad_settings():
    for kind, least in [(LayerNorm, 2), (RMSNorm, 1)]:
        with pytest.raises(ValueError, match=f"features must be at least {least}, got {least - 1}"):
            kind(least - 1)
        assert len(kind(least).params["scale"]) == least
        for epsilon in (0.0, -1e-5, np.inf, np.nan):
            with pytest.raises(ValueError, match="epsilon must be above 0 and finite, got"):
                kind(3, epsilon=epsilon)
        for dtype in (np.float16, np.int64):
            with pytest.raises(TypeError, match="dtype must be float32 or float64, got"):
                kind(3, dtype=dtype)


@both
def test_bad_batches_leave_everything_as_it_was(rng, kind):
    norm = moved(kind, 3, rng)
    with pytest.raises(RuntimeError, match="forward first"):
        norm.backward(np.ones((4, 3)))
    with pytest.raises(TypeError, match="x must be float64 like the scale, got float32"):
        norm.forward(np.ones((4, 3), np.float32))
    for shape in [(), (3,), (0, 3), (4, 2), (4, 1), (4, 0, 3)]:
        with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, \.\.\., 3\), got"):
            norm.forward(np.ones(shape))
    with pytest.raises(RuntimeError, match="forward first"):
        norm.backward(np.ones((4, 3)))
    x, dy = rng.standard_normal((2, 4, 3))
    norm.forward(x)
    with pytest.raises(TypeError, match="dy must be float64 like the scale, got float32"):
        norm.backward(dy.astype(np.float32))
    for shape in [(3,), (1, 3), (5, 3), (4, 1), (2, 2, 3)]:
        with pytest.raises(ValueError, match=r"dy must be \(4, 3\), got"):
            norm.backward(np.ones(shape))
    assert norm.grads == {}
    norm.backward(dy)
    with pytest.raises(RuntimeError, match="one for each backward"):
        norm.backward(dy)
