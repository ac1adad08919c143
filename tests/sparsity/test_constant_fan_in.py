import contextlib
import io
import tracemalloc
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import binom, chisquare

from lexicon.catalog import find, turn
from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import constant_fan_in as module
from lexicon.sparsity import sampled_gradient as sampling
from lexicon.sparsity.constant_fan_in import (
    Condensed,
    CondensedLinear,
    condensed,
    constant_fan_in,
)
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import sample_positions
from lexicon.sparsity.rewiring import rewire
from lexicon.sparsity.sparse_initialization import sparse_he_normal
from lexicon.sparsity.sparse_matrix import stored_bytes
from lexicon.training.momentum import Momentum


def by_hand():
    # The worked case of the page: two neurons, four inputs, two each.
    return csr_array(np.array([[0, 2.0, 0, -1.0], [3.0, 1.0, 0, 0]]))


def test_by_hand():
    layer = CondensedLinear(by_hand())
    np.testing.assert_array_equal(layer.weight.values, [[2, -1], [3, 1]])
    np.testing.assert_array_equal(layer.weight.columns, [[1, 3], [0, 1]])
    assert layer.weight.n_in == 4
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0, 5.0]])), [[-1, 5]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[30, 12, 0, -1]])
    np.testing.assert_array_equal(layer.grads["weight"], [[2, 5], [10, 20]])
    np.testing.assert_array_equal(layer.grads["bias"], [1, 10])
    layer.params["bias"] += [100, 200]
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0, 5.0]])), [[99, 205]])


def test_gradient_alone_and_in_a_stack(rng):
    weight = constant_fan_in((7, 9), 3, rng=rng, dtype=np.float64)
    x = rng.standard_normal((4, 9))
    layer = CondensedLinear(weight)
    layer.params["bias"] += rng.standard_normal(7)
    assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((9, 9)), rng.standard_normal(9)),
            layer,
            Linear(rng.standard_normal((3, 7))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.data())
def test_every_row_holds_k_distinct_inputs(seed, n_out, n_in, data):
    k = data.draw(st.integers(1, n_in))
    weight = constant_fan_in((n_out, n_in), k, rng=np.random.default_rng(seed))
    assert weight.shape == (n_out, n_in)
    np.testing.assert_array_equal(np.diff(weight.indptr), k)
    columns = weight.indices.reshape(n_out, k)
    assert (np.diff(columns, axis=1) > 0).all()
    assert columns.min() >= 0
    assert columns.max() < n_in
    assert weight.dtype == np.float32
    assert weight.indices.dtype == weight.indptr.dtype == np.int32
    CSRLinear(weight)  # which refuses what is not canonical


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.data())
def test_agrees_with_loops_with_scipy_and_with_the_csr_layer(seed, n_out, n_in, samples, data):
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, n_in))
    weight = constant_fan_in((n_out, n_in), k, rng=rng, dtype=np.float64)
    x, dy = rng.standard_normal((samples, n_in)), rng.standard_normal((samples, n_out))
    bias = rng.standard_normal(n_out)
    layer, csr = CondensedLinear(weight), CSRLinear(weight, bias)
    layer.params["bias"][:] = bias
    y, dx = layer.forward(x), layer.backward(dy)
    expected = module._reference(layer.weight, bias, x, dy)
    for ours, theirs in zip((y, layer.grads["weight"], dx), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(y, x @ weight.toarray().T + bias, rtol=0, atol=1e-13)
    np.testing.assert_allclose(y, csr.forward(x), rtol=0, atol=1e-13)
    np.testing.assert_allclose(dx, csr.backward(dy), rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        layer.grads["weight"].ravel(), csr.grads["weight"], rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(layer.grads["bias"], csr.grads["bias"], rtol=0, atol=1e-13)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.data())
def test_condensed_and_back_is_the_same_matrix(seed, n_out, n_in, data):
    k = data.draw(st.integers(1, n_in))
    weight = constant_fan_in((n_out, n_in), k, rng=np.random.default_rng(seed))
    back = condensed(weight).to_csr()
    assert back.shape == weight.shape
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(back, part), getattr(weight, part))
        assert getattr(back, part).dtype == getattr(weight, part).dtype


@pytest.mark.parametrize(("n_in", "k"), [(5, 2), (4, 2), (5, 3), (6, 5), (7, 1)])
def test_every_set_is_equally_likely(n_in, k, rng):
    weight = constant_fan_in((200 * comb(n_in, k), n_in), k, rng=rng)
    rows = [tuple(row) for row in weight.indices.reshape(-1, k).tolist()]
    counts = [rows.count(drawn) for drawn in combinations(range(n_in), k)]
    assert chisquare(counts).pvalue > 0.01
    # And rows do not know of each other: the pairs of neighbours are as uniform.
    number = {drawn: i for i, drawn in enumerate(combinations(range(n_in), k))}
    first = np.array([number[row] for row in rows])
    pairs = np.bincount(first[0::2] * len(number) + first[1::2], minlength=len(number) ** 2)
    assert chisquare(pairs).pvalue > 0.01


def test_first_values_are_he_normal():
    weight = constant_fan_in((5000, 40), 8, rng=np.random.default_rng(1), dtype=np.float64)
    assert weight.dtype == np.float64
    assert abs(weight.data.mean()) < 0.01
    assert weight.data.var() == pytest.approx(2 / 8, rel=0.02)


def test_fan_out_is_binomial_and_some_inputs_are_read_by_nobody(rng):
    weight = constant_fan_in((2000, 2000), 2, rng=rng)
    readers = np.bincount(weight.indices, minlength=2000)
    expected = binom(2000, 2 / 2000).pmf(np.arange(6)) * 2000
    observed = np.bincount(readers)[:6]
    assert (
        chisquare(
            np.append(observed, 2000 - observed.sum()), np.append(expected, 2000 - expected.sum())
        ).pvalue
        > 0.01
    )
    # The page's shares: 13 %, about e⁻², about e⁻⁸.
    few, many = (1 - 2 / 64) ** 64, (1 - 2 / 64) ** 256
    assert 0.125 < few < 0.135
    assert few == pytest.approx(np.exp(-2), rel=0.05)
    assert many == pytest.approx(np.exp(-8), rel=0.15)


def test_three_pixels_are_blank_in_every_digit():
    assert np.flatnonzero(load_digits()[0].max(axis=0) == 0).tolist() == [0, 32, 39]


def test_anywhere_leaves_neurons_without_input(rng):
    for m, share in [(1, np.exp(-1)), (2, np.exp(-2)), (4, np.exp(-4))]:
        positions = sample_positions(4000 * 500, 4000 * m, rng=rng)
        fan_in = np.bincount(positions // 500, minlength=4000)
        assert (fan_in == 0).mean() == pytest.approx(share, rel=0.2)
        assert np.diff(constant_fan_in((4000, 500), m, rng=rng).indptr).min() == m


def test_no_dense_matrix_and_no_stall(rng):
    # 300,000 × 300,000 would be 90 GB of bool.
    tracemalloc.start()
    weight = constant_fan_in((300_000, 300_000), 10, rng=rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert weight.nnz == 3_000_000
    assert peak < 16 * weight.nnz
    for k in (999, 1000, 500, 501):
        assert constant_fan_in((300, 1000), k, rng=rng).nnz == 300 * k


def test_draws_are_linear_even_near_full():
    class Counting:
        def __init__(self):
            self.rng, self.draws = np.random.default_rng(0), 0

        def integers(self, high, *, size, dtype):
            self.draws += int(np.prod(size))
            return self.rng.integers(high, size=size, dtype=dtype)

        def standard_normal(self, *args):
            return self.rng.standard_normal(*args)

    for k, draws in [(1, 1), (500, 1000 * np.log(2)), (990, 10.1), (1000, 0)]:
        counting = Counting()
        constant_fan_in((300, 1000), k, rng=counting)
        assert counting.draws == pytest.approx(300 * draws, rel=0.01)


@pytest.mark.parametrize(("shape", "k"), [((300, 50), 10), ((3, 2500), 1100)])
def test_many_chunks_and_chunks_of_one_row(shape, k, rng):
    weight = constant_fan_in(shape, k, rng=rng, dtype=np.float64)
    x, dy = rng.standard_normal((2, shape[1])), rng.standard_normal((2, shape[0]))
    layer = CondensedLinear(weight)
    np.testing.assert_allclose(layer.forward(x), x @ weight.toarray().T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(layer.backward(dy), dy @ weight.toarray(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        layer.grads["weight"].ravel(), (dy.T @ x)[weight.nonzero()], rtol=0, atol=1e-12
    )


def test_columns_are_wider_where_int32_cannot_count(rng):
    for n_in, index_type in ((2**31 - 1, np.int32), (2**31 + 1, np.int64)):
        weight = constant_fan_in((3, n_in), 4, rng=rng)
        assert weight.indices.dtype == weight.indptr.dtype == index_type
        assert weight.indices.max() > 2**30
        assert condensed(weight).columns.dtype == index_type


def test_memory_of_a_pass_is_bounded_by_chunks(rng):
    weight = constant_fan_in((4000, 4000), 32, rng=rng)
    layer = CondensedLinear(weight)
    x = rng.standard_normal((4000, 64), dtype=np.float32).T
    tracemalloc.start()
    y = layer.forward(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    layer.backward(y)
    backward = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All inputs gathered at once would be 4000 · 32 · 64 · 4 = 33 MB; y is 1 MB.
    assert peak < y.nbytes + 3 * 1024 * 64 * 4
    assert backward < 5e6
    assert y.T.flags.c_contiguous


def test_bytes_are_those_of_two_rectangles(rng):
    weight = constant_fan_in((1000, 5000), 10, rng=rng)
    c = condensed(weight)
    assert stored_bytes(c) == 1000 * 10 * 8
    parts = (weight.data, weight.indices, weight.indptr)
    assert sum(part.nbytes for part in parts) == stored_bytes(c) + 4 * 1001
    assert 0.045 < 4 / (8 * 10 + 4) < 0.055  # the page's 5 %


def test_the_csr_layer_takes_the_gradient_by_row(rng, monkeypatch):
    equal = constant_fan_in((50, 100), 14, rng=rng)
    assert sampling.fastest(equal.shape, equal.indptr) is sampling.gathered_by_row
    denser = constant_fan_in((50, 100), 15, rng=rng)
    assert sampling.fastest(denser.shape, denser.indptr) is sampling.blocked


def test_an_optimiser_trains_it_as_it_trains_the_csr_layer(rng):
    weight = constant_fan_in((20, 30), 4, rng=rng)
    layers = CondensedLinear(weight), CSRLinear(weight)
    optimizers = [Momentum(layer, learning_rate=0.1) for layer in layers]
    for _ in range(5):
        x, dy = rng.standard_normal((2, 8, 30)).astype(np.float32)
        for layer, optimizer in zip(layers, optimizers, strict=True):
            layer.forward(x)
            layer.backward(dy[:, :20])
            optimizer.step()
    assert layers[0].params["weight"] is layers[0].weight.values
    np.testing.assert_allclose(
        layers[0].weight.to_csr().toarray(), layers[1].weight.toarray(), rtol=0, atol=1e-5
    )
    assert np.abs(layers[0].weight.values.ravel() - weight.data).max() > 0.1


def test_nothing_given_is_changed_and_float32_stays(rng):
    weight = constant_fan_in((6, 5), 2, rng=rng)
    kept, x = weight.copy(), rng.standard_normal((3, 5), dtype=np.float32)
    x_kept = x.copy()
    layer = CondensedLinear(weight)
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones((3, 6), np.float32)).dtype == np.float32
    assert layer.grads["weight"].dtype == layer.grads["bias"].dtype == np.float32
    np.testing.assert_array_equal(x, x_kept)
    layer.params["weight"] += 1
    np.testing.assert_array_equal(weight.data, kept.data)


def test_the_same_seed_gives_the_same_bits():
    a, b = (constant_fan_in((9, 20), 7, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a.toarray(), b.toarray())


def test_pitfall_the_transpose_has_no_such_form(rng):
    weight = constant_fan_in((3, 4), 2, rng=rng)
    with pytest.raises(ValueError, match="equally many values in every row"):
        condensed(weight.T.tocsr())
    layer = CondensedLinear(weight)
    layer.forward(np.ones((1, 4), np.float32))
    dx = layer.backward(np.ones((1, 3), np.float32))
    np.testing.assert_allclose(dx[0], weight.toarray().sum(axis=0), rtol=1e-6)


def test_pitfall_rewiring_keeps_the_layers_number_and_not_each_neurons(rng):
    weight = constant_fan_in((1000, 1000), 4, rng=rng)
    layer = CSRLinear(weight)
    rewire(layer, fraction=0.3, rng=rng)
    fan_in = np.diff(layer.weight.indptr)
    assert layer.weight.nnz == 4000
    assert fan_in.min() < 4 < fan_in.max()
    assert sampling.fastest(weight.shape, layer.weight.indptr) is sampling.gathered
    # Within each row: the weakest goes, a free one comes.
    values, columns, n_in = condensed(weight)
    before = columns.copy()
    rank = rng.integers(n_in - 4, size=(1000, 1))
    grown = rank + (columns - np.arange(4) <= rank).sum(axis=1, keepdims=True)
    assert not (grown == before).any()
    np.put_along_axis(columns, np.abs(values).argmin(axis=1)[:, None], grown, axis=1)
    layer = CSRLinear(weight)
    source = layer.reconnect(np.sort(columns + np.arange(1000)[:, None] * n_in).ravel())
    np.testing.assert_array_equal(np.diff(layer.weight.indptr), 4)
    assert (source == -1).sum() == 1000


def test_pitfall_with_replacement_falls_short(rng):
    drawn = rng.integers(8, size=(50, 6))
    assert min(len(set(row.tolist())) for row in drawn) < 6
    np.testing.assert_array_equal(np.diff(constant_fan_in((50, 8), 6, rng=rng).indptr), 6)
    with pytest.raises(ValueError, match="fan_in must be 1 to 8, the inputs there are, got 9"):
        constant_fan_in((50, 8), 9, rng=rng)
    # Redrawing whole rows: at 100 of 1,000 less than one in a hundred passes.
    assert np.prod(1 - np.arange(100) / 1000) < 0.01


def test_what_the_page_says_of_accuracy():
    source = find("constant_fan_in").example.read_text(encoding="utf-8")
    knobs = {knob.name: knob for knob in find("constant_fan_in").knobs}
    gaps = []
    for fan_in, seeds in ((2, 24), (8, 12)):
        turned = turn(turn(source, knobs["SEEDS"], seeds), knobs["FAN_IN"], fan_in)
        told: dict = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(turned, "<example>", "exec"), told)
        columns = np.array(told["table"]).T
        gaps.append(columns[5] - columns[4])
    few, more = gaps
    assert 0.01 < few.mean() < 0.03
    # One test image is 0.2 points: room for two or three that another BLAS reads differently.
    assert 12 < (few > 0).sum() < 18
    assert -0.048 < few.min() < -0.037
    assert 0.065 < few.max() < 0.076
    assert abs(more.mean()) < 0.005


def test_bad_input(rng):
    for shape in [(3,), (0, 4), (4, 0), (2, 3, 4)]:
        with pytest.raises(ValueError, match=r"shape must be \(out, in\)"):
            constant_fan_in(shape, 1, rng=rng)
    with pytest.raises(ValueError, match=r"fan_in must be 1 to 4, .* got 0"):
        constant_fan_in((3, 4), 0, rng=rng)
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got float16"):
        constant_fan_in((3, 4), 2, rng=rng, dtype=np.float16)
    with pytest.raises(TypeError):
        constant_fan_in((3, 4), 2.0, rng=rng)
    with pytest.raises(TypeError):
        constant_fan_in((3.0, 4), 2, rng=rng)
    with pytest.raises(TypeError, match="weight must be a csr_array"):
        condensed(np.eye(3))
    with pytest.raises(ValueError, match=r"weight must store .* got 0 to 1"):
        condensed(csr_array(np.diag([1.0, 0.0])))
    with pytest.raises(ValueError, match=r"weight must store .* got 0 to 0"):
        condensed(csr_array((2, 3)))
    with pytest.raises(ValueError, match="canonical"):
        condensed(csr_array((np.ones(2), [1, 0], [0, 2]), (1, 2)))
    layer = CondensedLinear(by_hand())
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 2)))
    with pytest.raises(TypeError, match="x must be float64"):
        layer.forward(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 4\)"):
        layer.forward(np.zeros((1, 3)))
    layer.forward(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 2\)"):
        layer.backward(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="dy must be float64"):
        layer.backward(np.zeros((1, 2), np.float32))
    assert layer.grads == {}
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), [[3, 3, 0, -1]])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((1, 2)))


def test_the_values_drawn_are_those_of_sparse_initialization():
    # Drawn after the positions, from the same generator.
    weight = constant_fan_in((40, 30), 3, rng=np.random.default_rng(5))
    assert isinstance(condensed(weight), Condensed)
    again = np.random.default_rng(5)
    columns = module._distinct(40, 30, 3, np.int32, again)
    np.testing.assert_array_equal(weight.indices, columns.ravel())
    np.testing.assert_array_equal(weight.data, sparse_he_normal(weight.indptr, rng=again))
