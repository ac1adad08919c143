import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import convolve2d, correlate, correlate2d

from lexicon.architectures.convolution import Convolution, Reshape, _reference
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential, trace_shapes
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

seeds = st.integers(0, 2**32 - 1)
IMAGE = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [2.0, 0.0, 1.0]])
WINDOW = np.array([[1.0, 2.0], [0.0, -1.0]])


def test_by_hand():
    layer = Convolution(WINDOW[None, None], np.array([1.0]))
    np.testing.assert_array_equal(layer.forward(IMAGE[None, None]), [[[[5, 0], [3, 7]]]])
    dx = layer.backward(np.array([[[[1.0, 0.0], [0.0, 2.0]]]]))
    np.testing.assert_array_equal(dx, [[[[1, 2, 0], [0, 1, 4], [0, 0, -2]]]])
    np.testing.assert_array_equal(layer.grads["weight"], [[[[3, 8], [0, 3]]]])
    np.testing.assert_array_equal(layer.grads["bias"], [3])


@given(seeds, st.integers(0, 2))
def test_matches_the_loops(seed, padding):
    rng = np.random.default_rng(seed)
    n, out, channels, height, width = rng.integers(1, 4, 5)
    rows, columns = height + rng.integers(0, 3), width + rng.integers(0, 3)
    weight, bias = rng.normal(size=(out, channels, height, width)), rng.normal(size=out)
    x = rng.normal(size=(n, channels, rows, columns))
    layer = Convolution(weight, bias, padding=padding)
    y = layer.forward(x)
    dy = rng.normal(size=y.shape)
    dx = layer.backward(dy)
    ring = (slice(None), slice(None), *[slice(padding, padding + s) for s in (rows, columns)])
    padded = np.zeros((n, channels, rows + 2 * padding, columns + 2 * padding))
    padded[ring] = x
    y_loop, dx_loop, d_weight, d_bias = _reference(padded, weight, bias, dy)
    np.testing.assert_allclose(y, y_loop, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, dx_loop[ring], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.grads["weight"], d_weight, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.grads["bias"], d_bias, rtol=1e-12, atol=1e-12)


def test_matches_scipy(rng):
    weight, bias = rng.normal(size=(3, 2, 3, 2)), rng.normal(size=3)
    x = rng.normal(size=(4, 2, 5, 6))
    y = Convolution(weight, bias).forward(x)
    assert y.shape == (4, 3, 3, 5)
    for n, o in np.ndindex(4, 3):
        expected = correlate(x[n], weight[o], mode="valid")[0] + bias[o]
        np.testing.assert_allclose(y[n, o], expected, rtol=1e-12, atol=1e-12)
    # A ring of side - 1 zeros is SciPy's "full", one of (side - 1) / 2 its "same".
    image, window = rng.normal(size=(4, 5)), rng.normal(size=(3, 3))
    for padding, mode in ((2, "full"), (1, "same")):
        layer = Convolution(window[None, None], padding=padding)
        expected = correlate2d(image, window, mode=mode)
        np.testing.assert_allclose(layer.forward(image[None, None])[0, 0], expected, atol=1e-12)
    # And back goes a convolution proper, "full", of what arrives.
    layer = Convolution(window[None, None])
    dy = rng.normal(size=layer.forward(image[None, None]).shape)
    np.testing.assert_allclose(layer.backward(dy)[0, 0], convolve2d(dy[0, 0], window), atol=1e-12)


@pytest.mark.parametrize("padding", [0, 1])
def test_gradient_alone_and_in_a_stack(rng, padding):
    x = rng.standard_normal((2, 2, 4, 5))
    layer = Convolution(rng.normal(size=(3, 2, 3, 2)), rng.normal(size=3), padding=padding)
    errors = check_layer(layer, x, rng=rng)
    assert set(errors) == {"x", "weight", "bias"}
    assert max(errors.values()) < 1e-8
    size = layer.forward(x)[0].size
    stack = Sequential(
        [
            Linear(rng.normal(size=(40, 6))),
            Reshape((2, 4, 5)),
            layer,
            Reshape((size,)),
            Linear(rng.normal(size=(3, size)) / 5),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, rng.normal(size=(2, 6)), rng=rng).values()) < 1e-7
    assert check_layer(Reshape((5, 8)), x, rng=rng)["x"] < 1e-9


@given(seeds, st.integers(0, 2), st.integers(0, 2))
def test_a_shifted_image_gives_a_shifted_map(seed, down, right):
    rng = np.random.default_rng(seed)
    layer = Convolution(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2))
    x = np.zeros((1, 1, 9, 9))
    x[:, :, 2:5, 2:5] = rng.normal(size=(3, 3))  # far enough from every border
    y = layer.forward(x)
    moved = layer.forward(np.roll(x, (down, right), axis=(2, 3)))
    np.testing.assert_allclose(moved, np.roll(y, (down, right), axis=(2, 3)), atol=1e-12)


@given(seeds)
def test_samples_and_filters_do_not_see_each_other(seed):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(4, 2, 2, 2)), rng.normal(size=4)
    x, one, other = rng.normal(size=(5, 2, 3, 4)), rng.permutation(5), rng.permutation(4)
    y = Convolution(weight, bias).forward(x)
    shuffled = Convolution(weight[other], bias[other]).forward(x[one])
    np.testing.assert_allclose(shuffled, y[one][:, other], rtol=1e-12, atol=1e-12)


def test_limits(rng):
    x, weight = rng.normal(size=(3, 2, 4, 5)), rng.normal(size=(6, 2, 4, 5))
    # A window as large as the image is a linear layer, one of a single pixel one at every place.
    flat = Linear(weight.reshape(6, -1)).forward(x.reshape(3, -1))
    np.testing.assert_allclose(Convolution(weight).forward(x)[..., 0, 0], flat, rtol=1e-12)
    point = Convolution(weight[:, :, :1, :1]).forward(x)
    pixels = Linear(weight[:, :, 0, 0]).forward(x.transpose(0, 2, 3, 1).reshape(-1, 2))
    np.testing.assert_allclose(point, pixels.reshape(3, 4, 5, 6).transpose(0, 3, 1, 2), rtol=1e-12)


@given(seeds)
def test_reshape_keeps_the_numbers_and_their_order(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 24))
    layer = Reshape((2, 3, 4))
    y = layer.forward(x)
    assert layer.shape == y.shape[1:] == (2, 3, 4)
    np.testing.assert_array_equal(y[1, 1, 2], x[1, 20:])
    np.testing.assert_array_equal(layer.backward(2 * y), 2 * x)
    assert Reshape([6]).shape == (6,)
    assert layer.params == layer.grads == {}


def test_the_type_stays_and_the_input_is_not_changed(rng):
    x = rng.standard_normal((2, 1, 4, 4), dtype=np.float32)
    kept = x.copy()
    weight = rng.standard_normal((3, 1, 2, 2), dtype=np.float32)
    layer = Convolution(weight, padding=1)
    before = weight.copy()
    layer.params["weight"] += 1  # its own, not the caller's
    np.testing.assert_array_equal(weight, before)
    y = layer.forward(x)
    dx = layer.backward(np.ones_like(y))
    arrays = (y, dx, *layer.params.values(), *layer.grads.values())
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert dx.shape == x.shape
    np.testing.assert_array_equal(x, kept)


def test_the_numbers_in_the_pages_prose():
    ink, _ = load_digits()
    # Eight filters of 3 × 3 on a digit, and what a linear layer would take for the same maps.
    layer = Convolution(np.zeros((8, 1, 3, 3), np.float32), padding=1)
    y = layer.forward(ink[:1].reshape(1, 1, 8, 8))
    assert sum(theta.size for theta in layer.params.values()) == 80
    assert y.size * 64 + y.size == 33_280
    # In both, a number of the map costs one product for each weight that it reads.
    assert 2 * y.size * 9 == 9_216
    assert 2 * y.size * 64 == 65_536
    # im2col copies a pixel into each of the nine windows that it lies in.
    assert layer._windows(ink[:1].reshape(1, 1, 8, 8)).size == 9 * 64


def trained(seed, *layers):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = Sequential([make(rng) if callable(make) else make for make in layers])
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    return accuracy(network, x_test, labels_test)


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_digits_like_a_linear_layer_with_far_more_parameters(seed):
    filters = [
        Reshape((1, 8, 8)),
        lambda rng: Convolution(he_normal(9, 8, rng=rng).reshape(8, 1, 3, 3), padding=1),
        Reshape((512,)),
        Activation(relu),
    ]
    wide = [lambda rng: Linear(he_normal(64, 512, rng=rng)), Activation(relu)]
    last = lambda rng: Linear(he_normal(512, 10, rng=rng))  # noqa: E731
    shared, own = trained(seed, *filters, last), trained(seed, *wide, last)
    assert shared > 0.92
    assert abs(shared - own) < 0.04


def test_pitfall_correlation_is_not_convolution():
    layer = Convolution(WINDOW[None, None])
    y = layer.forward(IMAGE[None, None])[0, 0]
    proper = convolve2d(IMAGE, WINDOW, mode="valid")
    assert (y != proper).any()
    flipped = Convolution(WINDOW[None, None, ::-1, ::-1])
    np.testing.assert_array_equal(flipped.forward(IMAGE[None, None])[0, 0], proper)


def test_pitfall_channels_last_is_not_reshaped_but_transposed(rng):
    picture = np.zeros((1, 2, 2, 3))  # rows, columns, then red, green, blue
    picture[..., 0] = 1
    scrambled = picture.reshape(1, 3, 2, 2)
    assert (scrambled[0, 0] != 1).any()
    assert scrambled[0, 2].any()
    right = picture.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(right[0].sum(axis=(1, 2)), [4, 0, 0])
    red = Convolution(np.eye(3)[:1, :, None, None])
    np.testing.assert_array_equal(red.forward(right)[0, 0], np.ones((2, 2)))
    assert (red.forward(scrambled)[0, 0] != 1).any()


def test_pitfall_a_gradient_overwritten_where_it_must_add():
    layer = Convolution(WINDOW[None, None])
    layer.forward(IMAGE[None, None])
    dy = np.array([[[[1.0, 0.0], [0.0, 2.0]]]])
    right = layer.backward(dy)[0, 0]
    place = sliding_window_view(np.arange(9).reshape(3, 3), (2, 2)).reshape(4, 4)
    sent = dy.reshape(4, 1) * WINDOW.reshape(1, 4)
    lost, added = np.zeros(9), np.zeros(9)
    lost[place] += sent
    np.add.at(added, place, sent)
    np.testing.assert_array_equal(added.reshape(3, 3), right)
    assert lost[4] == 2
    assert right[1, 1] == 1  # -1 from the first window, 2 from the last


def test_the_map_shrinks_without_padding(rng):
    filters = [Convolution(rng.normal(size=(1, 1, 3, 3))) for _ in range(3)]
    shapes = trace_shapes(Sequential(filters), rng.normal(size=(1, 1, 8, 8)))
    assert [shape[2:] for _, shape in shapes] == [(8, 8), (6, 6), (4, 4), (2, 2)]


def test_bad_input(rng):
    weight = np.ones((2, 3, 2, 2))
    with pytest.raises(TypeError, match="weight must be floating point, got int64"):
        Convolution(np.ones((2, 3, 2, 2), np.int64))
    for shape in ((2, 3, 2), (2, 3, 0, 2)):
        with pytest.raises(ValueError, match=r"weight must be \(out, in, height, width\)"):
            Convolution(np.ones(shape))
    with pytest.raises(TypeError, match="bias must be float64 like weight, got float32"):
        Convolution(weight, np.ones(2, np.float32))
    with pytest.raises(ValueError, match=r"bias must be \(2,\), got \(3,\)"):
        Convolution(weight, np.ones(3))
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        Convolution(weight, padding=-1)
    layer = Convolution(weight)
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        layer.backward(np.ones((1, 2, 1, 1)))
    with pytest.raises(TypeError, match="x must be float64 like the layer's weights, got float32"):
        layer.forward(np.ones((1, 3, 2, 2), np.float32))
    for shape in ((3, 2, 2), (0, 3, 2, 2), (1, 2, 2, 2), (1, 4, 2, 2)):
        with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3, rows, columns\), got"):
            layer.forward(np.ones(shape))
    for shape in ((1, 3, 1, 5), (1, 3, 5, 1)):
        with pytest.raises(ValueError, match=r"x must be at least as large as the window \(2, 2\)"):
            layer.forward(np.ones(shape))
    layer.forward(np.ones((1, 3, 2, 2)))
    with pytest.raises(TypeError, match="dy must be float64 like the layer's weights, got float32"):
        layer.backward(np.ones((1, 2, 1, 1), np.float32))
    with pytest.raises(ValueError, match=r"dy must be \(1, 2, 1, 1\), got \(1, 2, 2, 1\)"):
        layer.backward(np.ones((1, 2, 2, 1)))
    assert layer.grads == {}
    layer.backward(np.ones((1, 2, 1, 1)))  # the refusals have left the input where it was
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        layer.backward(np.ones((1, 2, 1, 1)))


def test_bad_input_to_reshape():
    for shape in ((), (2, 0), (-1,)):
        with pytest.raises(ValueError, match="shape must be numbers of at least 1, got"):
            Reshape(shape)
    layer = Reshape((2, 3))
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        layer.backward(np.ones((1, 2, 3)))
    for shape in ((2, 5), (0, 6), (3, 2)):
        with pytest.raises(ValueError, match=r"x must hold samples that fit \(2, 3\), got"):
            layer.forward(np.ones(shape))
    layer.forward(np.ones((4, 6)))
    with pytest.raises(TypeError, match="dy must be float64 like the input, got float32"):
        layer.backward(np.ones((4, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"dy must be \(4, 2, 3\), got \(4, 6\)"):
        layer.backward(np.ones((4, 6)))
    layer.backward(np.ones((4, 2, 3)))
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        layer.backward(np.ones((4, 2, 3)))
