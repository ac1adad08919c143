import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.gradient_clipping import Clipping
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.mixed_precision import HalfPrecision, LossScaling
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def single(values, name="float32"):
    return np.array(values, name)


def one_weight(value=1.0):
    return Sequential([Linear(single([[value]]))])


def test_by_hand_four_gradients():
    gradients = single([[0.01, 1e-7, 4e-8, 2e-8]]).T
    for scale, expected in [
        (1.0, [0.01, 1.19e-7, 5.96e-8, 0]),
        (1024.0, [0.01, 1.00e-7, 4.00e-8, 2.00e-8]),
    ]:
        found = []
        for dy in gradients:
            half = HalfPrecision(one_weight(), scale=scale)
            half.forward(single([[1.0]]))
            half.backward(dy[None])
            found.append(half.grads["0.weight"][0, 0])
        np.testing.assert_allclose(found, expected, rtol=0.003)
    # IEEE 754: the ends of the range and the digits, as the page states them.
    assert np.finfo(np.float16).max == 65504
    assert np.finfo(np.float16).smallest_subnormal == 2**-24 == pytest.approx(6e-8, rel=0.01)
    np.testing.assert_array_equal(single([1.01, 0.99]).astype(np.float16) > 1, [True, False])
    assert (single([1.001, 0.999]) * 2.0**-25).astype(np.float16).tolist() == [2.0**-24, 0]
    assert np.finfo(np.float16).nmant + 1 == 11


integers = st.integers(-4, 4).map(float)


@given(
    arrays(np.float32, (3, 4), elements=integers),
    arrays(np.float32, (2, 3), elements=integers),
    arrays(np.float32, (5, 4), elements=integers),
    arrays(np.float32, (5, 2), elements=integers),
    st.integers(-6, 6),
)
def test_where_float16_is_exact_it_is_the_float32_network_to_the_bit(w, v, x, dy, exponent):
    def network():
        return Sequential([Linear(w, single([1, 2, 3])), Activation(relu), Linear(v)])

    plain, half = network(), HalfPrecision(network(), scale=2.0**exponent)
    np.testing.assert_array_equal(half.forward(x), plain.forward(x))
    np.testing.assert_array_equal(half.backward(dy), plain.backward(dy))
    assert half.grads.keys() == half.params.keys()
    for name, gradient in plain.grads.items():
        np.testing.assert_array_equal(half.grads[name], gradient)
        assert half.grads[name].dtype == np.float32
        assert half.grads[name].shape == half.params[name].shape


def test_gradients_are_those_that_float64_checks_up_to_the_digits_of_float16(rng):
    def network(dtype):
        draw = np.random.default_rng(1)
        first, last = Linear(draw.standard_normal((5, 4))), Linear(draw.standard_normal((3, 5)))
        casts = [
            Linear(*(theta.astype(dtype) for theta in layer.params.values()))
            for layer in (first, last)
        ]
        return Sequential([casts[0], Activation(tanh), casts[1]])

    exact, x = network(np.float64), rng.standard_normal((6, 4))
    assert max(check_layer(exact, x, rng=rng).values()) < 1e-7
    dy = rng.standard_normal((6, 3))
    exact.forward(x)
    dx = exact.backward(dy)
    half = HalfPrecision(network(np.float32), scale=256.0)
    half.forward(x.astype(np.float32))
    pairs = [(half.backward(dy.astype(np.float32)), dx)]
    pairs += [(half.grads[name], gradient) for name, gradient in exact.grads.items()]
    for found, truth in pairs:
        error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
        assert 1e-5 < error < 2e-3  # rounded, but to no fewer than float16's digits


def test_it_really_computes_in_float16(rng):
    seen = []

    def spy(x):
        seen.append(x.dtype)
        return x, np.ones_like(x)

    layer = Linear(single([[1.0, 1.0]]))
    half = HalfPrecision(Sequential([Activation(spy), layer, Activation(spy)]))
    # 2049 has twelve binary digits; in float16 it is 2048.
    y = half.forward(single([[2049.0, 0.0]]))
    assert y.tolist() == [[2048.0]]
    assert y.dtype == np.float32
    assert seen == [np.float16, np.float16]
    half.scale = 1.0
    assert half.backward(single([[2049.0]])).tolist() == [[2048.0, 2048.0]]
    layer.params["weight"][:] = 2049.0  # the copy is made anew at every forward
    assert half.forward(single([[1.0, 0.0]])).tolist() == [[2048.0]]
    assert layer.params["weight"][0, 0] == 2049.0


def test_sums_over_a_batch_have_the_digits_of_float32(rng):
    assert np.float16(2048) + np.float16(1) == 2048
    dy = rng.uniform(0.5, 1.5, (4096, 3)).astype(np.float32)
    assert np.abs(dy.astype(np.float16).sum(axis=0) / dy.sum(axis=0) - 1).max() > 0.004
    half = HalfPrecision(Sequential([Linear(np.ones((3, 2), np.float32))]), scale=1.0)
    half.forward(np.ones((4096, 2), np.float32))
    half.backward(dy)
    np.testing.assert_allclose(half.grads["0.bias"], dy.sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(half.grads["0.weight"][:, 0], dy.sum(axis=0), rtol=2**-11)


def test_forward_leaves_its_input_and_one_backward_follows_each_forward(rng):
    network = mlp([4, 3, 2], rng=rng)
    half, x = HalfPrecision(network), rng.standard_normal((5, 4)).astype(np.float32)
    kept, dy = x.copy(), np.full((5, 2), 0.1, np.float32)
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        half.backward(dy)
    half.forward(x)
    half.backward(dy)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, np.full((5, 2), 0.1, np.float32))
    with pytest.raises(RuntimeError, match="backward needs a forward first"):
        half.backward(dy)


def test_the_float32_network_is_what_is_trained(rng):
    network = mlp([64, 16, 10], rng=rng)
    half = HalfPrecision(network)
    assert half.params.keys() == network.params.keys()
    assert all(half.params[name] is theta for name, theta in network.params.items())
    before = {name: theta.copy() for name, theta in network.params.items()}
    x, labels = (part[:64] for part in load_digits())
    train(
        half, GradientDescent(half, learning_rate=0.1), x, labels, epochs=2, batch_size=32, rng=rng
    )
    for name, theta in network.params.items():
        assert theta.dtype == np.float32
        assert (theta != before[name]).any()
        assert (theta != theta.astype(np.float16)).any()  # all digits of float32 are in use
    assert accuracy(half, x, labels) == pytest.approx(accuracy(network, x, labels), abs=0.02)


def test_bytes_a_weight_takes_six_instead_of_four_and_a_kept_activation_two(rng):
    network = mlp([64, 32, 32, 10], rng=rng)
    half = HalfPrecision(network)
    half.forward(np.zeros((8, 64), np.float32))
    masters = sum(theta.nbytes for theta in half.params.values())
    copies = sum(t.nbytes for twin in half._halves.values() for t in twin.params.values())
    assert (masters + copies) / masters == 1.5
    hidden = half._halves["2"]._x
    assert hidden.nbytes == 8 * 32 * 2
    half.backward(np.zeros((8, 10), np.float32))
    assert [twin.grads for twin in half._halves.values()] == [{}, {}, {}]  # float32 ones replace it


def test_nested_and_sparse_layers_and_switches_for_training(rng):
    class Doubling:
        """A layer with a parameter that is no Linear, and that knows whether it is in use."""

        def __init__(self):
            self.params, self.grads = {"scale": single([2.0])}, {}
            self.training, self.types = True, []

        def forward(self, x):
            self.types.append(x.dtype)
            self.x = x
            return x * self.params["scale"] if self.training else x

        def backward(self, dy):
            self.types.append(dy.dtype)
            self.grads = {"scale": np.array([(dy * self.x).sum()])}
            return dy * self.params["scale"]

    other = Doubling()
    inner = Sequential([CSRLinear(csr_array(single([[3.0, 0.0]]))), other])
    half = HalfPrecision(Sequential([Linear(np.eye(2, dtype=np.float32)), inner]), scale=4.0)
    assert half.forward(single([[5.0, 7.0]])).tolist() == [[30.0]]
    assert half.backward(single([[0.5]])).tolist() == [[3.0, 0.0]]
    assert other.types == [np.float32, np.float32]
    assert {name: g.ravel().tolist() for name, g in half.grads.items()} == {
        "0.weight": [15.0, 21.0, 0.0, 0.0],
        "0.bias": [3.0, 0.0],
        "1.0.weight": [5.0],
        "1.0.bias": [1.0],
        "1.1.scale": [7.5],
    }
    assert {g.dtype for g in half.grads.values()} == {np.dtype(np.float32)}
    with evaluating(half):
        assert half.forward(single([[5.0, 7.0]])).tolist() == [[15.0]]


def test_scipy_has_no_sparse_float16_which_is_why_sparse_layers_stay_float32():
    with pytest.raises(ValueError, match="does not support dtype float16"):
        csr_array(np.ones((2, 2), np.float16))
    parts = np.ones(2, np.float16), np.array([0, 1]), np.array([0, 1, 2])
    smuggled = csr_array(parts, shape=(2, 2))
    assert smuggled.dtype == np.float16
    assert (smuggled @ np.ones((2, 2), np.float16)).dtype == np.float32
    with pytest.raises(TypeError, match="weight must be float32 or float64, got float16"):
        CSRLinear(smuggled)


def test_a_sparse_network_trains_and_rewires():
    rng = np.random.default_rng(0)
    network = sparse_mlp([64, 32, 10], density=0.2, rng=rng)
    half = HalfPrecision(network)
    inside = Momentum(half, learning_rate=0.05)
    optimizer = LossScaling(half, inside, growth_interval=20)
    seen = []

    def rewire(_):
        before = inside.velocity["0.weight"].copy()
        rewire_network(half, optimizer, fraction=0.2, rng=rng)
        seen.append((before != inside.velocity["0.weight"]).any())

    data = load_digits()
    history = train(half, optimizer, *data, epochs=4, batch_size=32, rng=rng, after_epoch=rewire)
    assert history[-1].loss < 0.5
    assert all(seen)


def trained(seed, scale, dynamic, epochs=3):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    x, labels = x[:800], labels[:800]
    network = mlp([64, 32, 10], rng=rng)
    if scale:
        network = HalfPrecision(network, scale=scale)
    optimizer = Momentum(network, learning_rate=0.05)
    if dynamic:
        optimizer = LossScaling(network, optimizer, growth_interval=2)
    train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
    return accuracy(network, x_test, labels_test), network, optimizer


@pytest.mark.parametrize("seed", range(3))
def test_pitfall_underflow_and_its_cure_on_digits(seed):
    usual, _, _ = trained(seed, None, dynamic=False)
    unscaled, _, _ = trained(seed, 1.0, dynamic=False)
    assert usual > 0.8
    assert unscaled == pytest.approx(usual, abs=0.02)  # digits do without any scaling
    assert trained(seed, 2.0**-20, dynamic=False)[0] < 0.4
    right, half, optimizer = trained(seed, 2.0**-20, dynamic=True)
    assert right > 0.8
    assert half.scale > 1
    assert optimizer.skipped < 10


def test_share_that_vanishes_at_the_logits_of_a_trained_network():
    rng, (x, labels) = np.random.default_rng(0), load_digits()
    network, criterion = mlp([64, 32, 10], rng=rng), CrossEntropy()
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=20, batch_size=32, rng=rng)
    criterion.forward(network.forward(x[:640]), labels[:640])
    dz = criterion.backward() * 20  # as in batches of 32
    dz = dz[dz != 0]
    assert (dz.astype(np.float16) == 0).mean() == pytest.approx(0.5, abs=0.06)
    scaled = (dz * 65536).astype(np.float16)
    assert (scaled == 0).mean() < 0.1
    assert np.isfinite(scaled).all()


def test_pitfall_overflow_skips_the_step_and_halves_the_scale():
    network = one_weight()
    half = HalfPrecision(network, scale=2.0**16)
    inside = Momentum(half, learning_rate=0.5, beta=0.5)
    optimizer = LossScaling(half, inside, growth_interval=2)

    def step(dy):
        half.forward(single([[1.0]]))
        half.backward(single([[dy]]))
        optimizer.step()
        return float(half.params["0.weight"][0, 0]), half.scale, optimizer.good, optimizer.skipped

    assert step(1.0) == (1.0, 2.0**15, 0, 1)  # 65,536 is above 65,504
    assert inside.velocity["0.weight"][0, 0] == 0
    assert step(1.0) == (0.5, 2.0**15, 1, 1)
    assert step(0.0) == (0.25, 2.0**16, 0, 1)
    assert step(0.5) == (-0.125, 2.0**16, 1, 1)  # velocity 1, 0.5, 0.75
    assert step(4.0) == (-0.125, 2.0**15, 0, 2)  # the good steps in a row count from 0 again
    assert step(0.0) == (-0.3125, 2.0**15, 1, 2)


def test_pitfall_overflow_going_forward_is_seen_by_the_training_loop():
    half = HalfPrecision(one_weight())
    optimizer = LossScaling(half, Momentum(half, learning_rate=0.1))
    x, labels, rng = single([[70_000.0]] * 2), np.array([0, 0]), np.random.default_rng(0)
    assert half.forward(x).tolist() == [[np.inf], [np.inf]]
    with pytest.raises(FloatingPointError, match="logits not finite"):
        train(half, optimizer, x, labels, epochs=1, batch_size=2, rng=rng)


def test_a_fixed_scale_that_is_too_large_ruins_the_weights():
    with pytest.raises(FloatingPointError, match="training diverged"):
        trained(0, 2.0**30, dynamic=False, epochs=1)
    right, half, optimizer = trained(0, 2.0**30, dynamic=True)
    assert right > 0.8
    assert half.scale < 2**22
    assert optimizer.skipped > 8


def test_no_scale_helps_where_a_weight_itself_is_too_large():
    # Going back, 0 · ∞ is not a number.
    network = Sequential([*one_weight().layers, Linear(single([[1e6]])), Activation(relu)])
    half = HalfPrecision(network, scale=2.0**-23)
    optimizer = LossScaling(half, GradientDescent(half, learning_rate=0.1))

    def step():
        half.forward(single([[-1.0]]))  # -∞ before the ReLU, 0 after it
        half.backward(single([[1.0]]))
        optimizer.step()

    step()
    assert half.scale == 2.0**-24
    with pytest.raises(FloatingPointError, match="not finite at any scale"):
        step()
    assert (half.scale, optimizer.skipped) == (2.0**-24, 1)
    assert half.params["0.weight"][0, 0] == 1


def test_pitfall_float16_weights_lose_small_updates():
    weight, master = np.float16(1), np.float32(1)
    for _ in range(5000):
        weight -= np.float16(0.0001)
        master -= np.float32(0.0001)
    assert weight == 1
    assert master == pytest.approx(0.5, abs=0.001)
    network = one_weight()  # the same with masters, through the whole machinery
    half = HalfPrecision(network)
    optimizer = GradientDescent(half, learning_rate=0.0001)
    for _ in range(50):
        half.forward(single([[1.0]]))
        half.backward(single([[0.5]]))
        optimizer.step()
    assert network.params["0.weight"][0, 0] == pytest.approx(1 - 50 * 0.00005, rel=1e-5)
    neighbours = (
        np.spacing(single(np.linspace(1, 2, 50)[:-1], "float16")) / np.linspace(1, 2, 50)[:-1]
    )
    assert neighbours.min() > 1 / 2049
    assert neighbours.max() < 1 / 1000


class Rounded(GradientDescent):
    """Weights that are float16: rounded after each step, and the lost updates counted."""

    lost = total = 0

    def step(self):
        before = {name: theta.copy() for name, theta in self.network.params.items()}
        super().step()
        for name, theta in self.network.params.items():
            meant = theta != before[name]
            theta[:] = theta.astype(np.float16)
            self.lost += (meant & (theta == before[name])).sum()
            self.total += meant.sum()


def test_pitfall_float16_weights_on_digits_are_slow_only_at_small_rates():
    x, labels = load_digits()
    for rate, lost, progress in (
        # As wide as seeds 0 to 9 spread, and a little wider.
        (0.01, (0.25, 0.4), (0.98, 1.01)),
        (0.0005, (0.8, 0.92), (0.38, 0.82)),
    ):
        for seed in range(3):
            fell = []
            for kind in GradientDescent, Rounded:
                rng, criterion = np.random.default_rng(seed), CrossEntropy()
                network = mlp([64, 32, 10], rng=rng)
                for theta in network.params.values():
                    theta[:] = theta.astype(np.float16)
                before = criterion.forward(network.forward(x), labels)
                optimizer = kind(network, learning_rate=rate)
                train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
                fell.append(before - criterion.forward(network.forward(x), labels))
            assert lost[0] < optimizer.lost / optimizer.total < lost[1]
            assert progress[0] < fell[1] / fell[0] < progress[1]


def test_clipping_goes_inside():
    half = HalfPrecision(one_weight())
    optimizer = LossScaling(
        half, Clipping(half, GradientDescent(half, learning_rate=1.0), max_norm=0.5)
    )
    for dy, expected in (1.0, 1.0), (0.6, 1 - 0.6 * 0.5 / np.hypot(0.6, 0.6)):
        half.forward(single([[1.0]]))
        half.backward(single([[dy]]))
        optimizer.step()
        assert half.params["0.weight"][0, 0] == pytest.approx(expected, rel=1e-3)
    assert optimizer.skipped == 1


def test_the_optimiser_inside_gets_the_rate_and_the_moves():
    half = HalfPrecision(Sequential([CSRLinear(csr_array(single([[1.0, 2.0]])))]))
    inside = Momentum(half, learning_rate=0.5)
    optimizer = LossScaling(half, inside)
    optimizer.learning_rate = 0.25
    assert inside.learning_rate == optimizer.learning_rate == 0.25
    inside.velocity["0.weight"][:] = [5.0, 7.0]
    optimizer.follow("0.weight", np.array([1, -1]))
    assert inside.velocity["0.weight"].tolist() == [7.0, 0.0]


def test_defaults():
    half = HalfPrecision(one_weight())
    assert half.scale == 65536
    assert LossScaling(half, GradientDescent(half, learning_rate=0.1)).growth_interval == 2000


def test_bad_input_changes_nothing(rng):
    with pytest.raises(TypeError, match=r"network must be float32, but 0\.weight is float64"):
        HalfPrecision(mlp([2, 2], rng=rng, dtype=np.float64))
    for bad in 0.0, -2.0, 3.0, np.nan, np.inf, 2.0**128, 2.0**-127:
        with pytest.raises(
            ValueError, match="scale must be a power of two that float32 holds, got"
        ):
            HalfPrecision(one_weight(), scale=bad)
    half = HalfPrecision(one_weight())
    with pytest.raises(ValueError, match="growth_interval must be at least 1, got 0"):
        LossScaling(half, GradientDescent(half, learning_rate=0.1), growth_interval=0)
    for dtype in np.float64, np.float16, np.int64:
        with pytest.raises(TypeError, match=f"x must be float32, got {np.dtype(dtype)}"):
            half.forward(np.ones((1, 1), dtype))
    half.forward(single([[1.0]]))
    with pytest.raises(TypeError, match="dy must be float32, got float64"):
        half.backward(np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 1\), got \(2, 1\)"):
        half.backward(single([[1.0], [1.0]]))
    assert half.grads == {}
    optimizer = LossScaling(half, GradientDescent(half, learning_rate=0.1))
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()
    assert (optimizer.good, optimizer.skipped, half.scale) == (0, 0, 65536)
