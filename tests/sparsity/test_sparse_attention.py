import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import block_diag, csr_array, random_array

from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.softmax import Softmax, softmax
from lexicon.sparsity.sparse_attention import SparseAttention, blocks, local, strided
from lexicon.training.momentum import Momentum

sizes = st.integers(1, 12)
makers = st.sampled_from([local, strided, blocks])


def dense(x, mask):
    """Full scores, masked with minus infinity: what the sparse layer has to agree with."""
    q, k, v = np.split(x, 3, axis=1)
    return softmax(np.where(mask, q @ k.T / np.sqrt(q.shape[1]), -np.inf)) @ v


def test_by_hand():
    x = np.array([[1, 0, 4], [1, np.log(3), 8], [1, 0, 0]])
    layer = SparseAttention(local(3, 1, causal=True))
    np.testing.assert_allclose(layer.forward(x), [[4], [7], [6]], rtol=1e-14)
    dq, dk, dv = layer.backward(np.array([[0.0], [0.0], [1.0]])).T
    assert layer.pattern.nnz == 5
    np.testing.assert_allclose(dv, [0, 3 / 4, 1 / 4], rtol=1e-14)
    np.testing.assert_allclose(dk, [0, 1.5, -1.5], rtol=1e-14)
    np.testing.assert_allclose(dq, [0, 0, 1.5 * np.log(3)], rtol=1e-14)
    assert dk[0] == dv[0] == 0


@given(sizes, sizes, st.booleans())
def test_patterns_are_what_they_say(n, size, causal):
    i, j = np.ogrid[:n, :n]
    ahead = (j > i) & causal
    for pattern, expected in [
        (local(n, size, causal=causal), abs(i - j) <= size),
        (strided(n, size, causal=causal), (i - j) % size == 0),
        (blocks(n, size, causal=causal), i // size == j // size),
    ]:
        np.testing.assert_array_equal(pattern.toarray(), expected & ~ahead)
        assert pattern.dtype == np.bool_
        assert pattern.indices.dtype == pattern.indptr.dtype == np.int32
        assert pattern.has_canonical_format


def test_a_long_sequence_does_not_overflow_int32_on_the_way():
    # Pairs times stride is beyond 2³¹ here, though every index is below 100,000.
    pattern = strided(100_000, 40_000, causal=False)
    assert pattern.nnz == 20_000 * 3**2 + 20_000 * 2**2  # groups of three, groups of two
    np.testing.assert_array_equal(pattern[[99_999]].indices, [19_999, 59_999, 99_999])
    near = local(100_000, 2, causal=False)
    np.testing.assert_array_equal(near[[99_999]].indices, [99_997, 99_998, 99_999])


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((9, 6))
    for pattern in (
        local(9, 2, causal=True),
        strided(9, 4, causal=False),
        blocks(9, 4, causal=True) + strided(9, 3, causal=True),  # rows of different lengths
    ):
        assert check_layer(SparseAttention(pattern), x, rng=rng)["x"] < 1e-8
        stack = Sequential(
            [
                Linear(rng.standard_normal((6, 6)), rng.standard_normal(6)),
                SparseAttention(pattern),
                Linear(rng.standard_normal((6, 2))),
                SparseAttention(strided(9, 3, causal=True)),
                Linear(rng.standard_normal((3, 2))),
                Activation(tanh),
            ]
        )
        assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(makers, sizes, sizes, st.booleans(), st.integers(0, 99))
def test_equals_masked_dense_attention(maker, n, size, causal, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((n, 12)), rng.standard_normal((n, 4))
    pattern = maker(n, size, causal=causal)
    layer = SparseAttention(pattern)
    np.testing.assert_allclose(layer.forward(x), dense(x, pattern.toarray()), atol=1e-12)
    # The gradients of dense attention, through the lexicon's softmax on full scores.
    (q, k, v), inner = np.split(x, 3, axis=1), Softmax()
    p = inner.forward(np.where(pattern.toarray(), q @ k.T / 2, -np.inf))
    ds = inner.backward(dy @ v.T) / 2
    np.testing.assert_allclose(layer.backward(dy), np.hstack([ds @ k, ds.T @ q, p.T @ dy]))


def test_any_pattern_will_do_random_and_global_ones_too(rng):
    n = 40
    seen_by_all = np.zeros((n, n), dtype=bool)
    seen_by_all[0] = seen_by_all[:, 0] = True
    chance = random_array((n, n), density=0.05, rng=rng, format="csr", dtype=np.float64) != 0
    pattern = local(n, 2, causal=False) + csr_array(seen_by_all) + csr_array(chance)
    x = rng.standard_normal((n, 24))
    y = SparseAttention(pattern).forward(x)
    np.testing.assert_allclose(y, dense(x, pattern.toarray()), rtol=1e-12)


@given(st.integers(1, 30), sizes, st.integers(0, 99))
def test_limits_all_pairs_and_only_itself(n, d, seed):
    x = np.random.default_rng(seed).standard_normal((n, 3 * d))
    q, k, v = np.split(x, 3, axis=1)
    full = softmax(q @ k.T / np.sqrt(d)) @ v
    for pattern in (local(n, n, causal=False), blocks(n, n, causal=False)):
        np.testing.assert_allclose(SparseAttention(pattern).forward(x), full, atol=1e-12)
    np.testing.assert_array_equal(SparseAttention(blocks(n, 1, causal=True)).forward(x), v)


@given(st.integers(2, 30), sizes, st.integers(0, 99))
def test_laws_of_softmax_hold_in_every_row(n, window, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6))
    pattern = local(n, window, causal=True)
    same_key, one_value = x.copy(), x.copy()
    same_key[:, 2:4] += [3.0, -7.0]  # adds the same to every score of a row
    y = SparseAttention(pattern).forward(x)
    np.testing.assert_allclose(SparseAttention(pattern).forward(same_key), y, atol=1e-10)
    one_value[:, 4:] = [5.0, -2.0]
    layer = SparseAttention(pattern)
    np.testing.assert_allclose(layer.forward(one_value), np.tile([5.0, -2.0], (n, 1)), rtol=1e-12)
    # Equal values leave nothing to choose: queries and keys get no gradient, all dy goes to v.
    dx = layer.backward(np.ones((n, 2)))
    np.testing.assert_allclose(dx[:, :4], 0, atol=1e-12)
    np.testing.assert_allclose(dx[:, 4:].sum(axis=0), [n, n], rtol=1e-12)


def test_large_scores_do_not_overflow(rng):
    x = np.hstack([np.full((6, 2), 1000.0), rng.standard_normal((6, 4)) * 1000])
    y = SparseAttention(local(6, 2, causal=True)).forward(x)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y, dense(x, local(6, 2, causal=True).toarray()), rtol=1e-10)


@given(st.integers(2, 20), sizes, st.integers(1, 4))
def test_layers_of_a_window_reach_that_many_windows(n, window, count):
    one = local(n, window, causal=True)
    heard = one
    for _ in range(count - 1):
        heard = one @ heard
    expected = local(n, count * window, causal=True)
    np.testing.assert_array_equal(heard.toarray(), expected.toarray())


@given(st.integers(1, 40), sizes, sizes)
def test_local_then_strided_hear_everything_before(n, window, stride):
    near, far = local(n, window, causal=True), strided(n, stride, causal=True)
    heard = (far @ near).toarray()
    if stride <= window + 1:
        np.testing.assert_array_equal(heard, np.tril(np.ones((n, n), dtype=bool)))
    elif n > window + 1:  # the token just beyond the window is on nobody's way
        assert not heard[window + 1, 0]


@given(st.integers(1, 20), sizes)
def test_no_number_of_block_layers_leaves_the_block(n, size):
    block = blocks(n, size, causal=True)
    np.testing.assert_array_equal((block @ block).toarray(), block.toarray())


def test_what_is_out_of_reach_has_exactly_no_influence_and_no_gradient(rng):
    n, d = 20, 3
    for patterns in (
        [local(n, 4, causal=True)],
        [local(n, 4, causal=True)] * 2,
        [blocks(n, 5, causal=False)] * 3,
        [local(n, 3, causal=True), strided(n, 4, causal=True)],
    ):
        layers, heard = [], np.eye(n, dtype=bool)
        for pattern in patterns:
            layers += [Linear(rng.standard_normal((3 * d, d)) / d), SparseAttention(pattern)]
            heard = pattern.toarray() @ heard
        network, x = Sequential(layers), rng.standard_normal((n, d))
        y = network.forward(x)
        dy = np.zeros((n, d))
        dy[13] = 1
        dx = network.backward(dy)
        np.testing.assert_array_equal((dx != 0).any(axis=1), heard[13])
        for j in range(n):
            other = x.copy()
            other[j] += 1
            assert (network.forward(other)[13] != y[13]).any() == heard[13, j]


def test_sequences_on_a_diagonal_are_sequences_alone(rng):
    pattern = local(7, 2, causal=True)
    batch = SparseAttention(csr_array(block_diag([pattern] * 3, format="csr")))
    x, dy = rng.standard_normal((21, 6)), rng.standard_normal((21, 2))
    y, dx = batch.forward(x), batch.backward(dy)
    for rows in np.split(np.arange(21), 3):
        alone = SparseAttention(pattern)
        np.testing.assert_allclose(y[rows], alone.forward(x[rows]), rtol=1e-13)
        np.testing.assert_allclose(dx[rows], alone.backward(dy[rows]), rtol=1e-12)


def test_nothing_given_is_changed_and_float32_stays(rng):
    pattern = local(6, 2, causal=True)
    kept = pattern.toarray()
    layer = SparseAttention(pattern)
    x = rng.standard_normal((6, 6), dtype=np.float32)
    before = x.copy()
    y = layer.forward(x)
    dy = np.ones_like(y)
    dx = layer.backward(dy)
    assert y.dtype == dx.dtype == np.float32
    assert y.shape == (6, 2)
    assert dx.shape == (6, 6)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dy, 1)
    np.testing.assert_array_equal(pattern.toarray(), kept)
    pattern.indices[:] = 0  # the layer has a copy
    pattern.indptr[:] = 0
    np.testing.assert_array_equal(layer.forward(x), y)
    assert layer.params == layer.grads == {}


def held(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_grows_with_the_tokens_and_not_with_their_square(rng):
    peaks = []
    for n in (5000, 10_000, 20_000):
        x = rng.standard_normal((n, 24), dtype=np.float32)

        def both_ways(x=x, n=n):
            layer = SparseAttention(local(n, 16, causal=True))
            layer.backward(layer.forward(x))

        peaks.append(held(both_ways))
    assert 1.9 < peaks[1] / peaks[0] < 2.1
    assert 1.9 < peaks[2] / peaks[1] < 2.1
    assert peaks[2] < 45 * 17 * 20_000  # bytes a pair, all temporaries included
    assert 100 * peaks[2] < 4 * 20_000**2  # against the scores of all pairs alone


def test_pitfall_a_mask_on_dense_scores_is_still_quadratic(rng):
    masked, sparse = [], []
    for n in (500, 1000, 2000):
        x, pattern = rng.standard_normal((n, 48)), local(n, 8, causal=True)
        masked.append(held(lambda x=x, p=pattern: dense(x, p.toarray())))
        sparse.append(held(lambda x=x, p=pattern: SparseAttention(p).forward(x)))
        np.testing.assert_allclose(
            SparseAttention(pattern).forward(x), dense(x, pattern.toarray()), atol=1e-12
        )
    assert 3.9 < masked[2] / masked[1] < 4.1
    assert sparse[2] / sparse[1] < 2
    assert masked[2] > 50 * sparse[2]
    assert 4 * 100_000**2 == 40e9  # the number on the page: float32, all pairs


def test_pitfall_a_constant_stride_is_still_quadratic():
    for n in (400, 1600):
        quadratic = strided(4 * n, 16, causal=True).nnz / strided(n, 16, causal=True).nnz
        assert 15 < quadratic < 16.5
        wide = strided(4 * n, round((4 * n) ** 0.5), causal=True).nnz
        assert 7.5 < wide / strided(n, round(n**0.5), causal=True).nnz < 8.1
        assert 4 < local(4 * n, 16, causal=True).nnz / local(n, 16, causal=True).nnz < 4.1
        assert abs(strided(n, round(n**0.5), causal=True).nnz / (n**1.5 / 2) - 1) < 0.06
        assert local(n, 16, causal=True).nnz < 17 * n
        assert blocks(n, 16, causal=True).nnz == n * 17 / 2


def test_a_score_of_zero_is_no_mask(rng):
    q, k = rng.standard_normal((2, 4, 2))
    mask = local(4, 1, causal=True).toarray()
    shares = softmax(mask * (q @ k.T))
    assert (shares > 0).all()  # the future has its share
    assert (softmax(np.where(mask, q @ k.T, -np.inf))[~mask] == 0).all()


def steps_to_learn(patterns, *, limit, seed):
    """Train the last of some random bits to name the first one, as the example does."""
    # Set beforehand: learned is nine right answers of ten in 20 steps, 320 answers; a network that
    # guesses would be fourteen standard deviations above one half.
    rng, layers, loss, right = np.random.default_rng(seed), [], CrossEntropy(), []
    tokens = patterns[0].shape[0]
    for n_in, pattern in zip([2 * tokens, 8], patterns, strict=True):
        apart = SparseAttention(csr_array(block_diag([pattern] * 16, format="csr")))
        layers += [Linear(rng.normal(0, 8**-0.5, (24, n_in))), apart]
    network = Sequential([*layers, Linear(rng.normal(0, 8**-0.5, (2, 8)))])
    optimizer, dy = Momentum(network, learning_rate=0.2), np.zeros((16, tokens, 2))
    while len(right) < limit and (len(right) < 20 or np.mean(right[-20:]) < 0.9):
        bits = rng.integers(2, size=(16, tokens))
        x = np.eye(2 * tokens)[(2 * np.arange(tokens) + bits).ravel()]
        y = network.forward(x).reshape(16, tokens, 2)[:, -1]
        right.append((y.argmax(axis=1) == bits[:, 0]).mean())
        loss.forward(y, bits[:, 0])
        dy[:, -1] = loss.backward()
        network.backward(dy.reshape(-1, 2))
        optimizer.step()
    return len(right)


@pytest.mark.parametrize(
    ("tokens", "window", "kind", "least", "most"),
    [
        (16, 4, "full", 20, 120),
        (16, 4, "strided", 20, 120),
        (16, 4, "local", 150, 150),  # never: out of reach
        (10, 4, "local", 150, 150),  # by one place
        (9, 4, "local", 20, 300),  # within reach, by one way
        (16, 8, "local", 100, 400),  # by two
        (16, 12, "local", 20, 99),  # by ten
    ],
)
def test_claim_what_is_out_of_reach_is_not_learnt(tokens, window, kind, least, most):
    near = local(tokens, window, causal=True)
    patterns = {
        "full": [blocks(tokens, tokens, causal=True)] * 2,
        "local": [near, near],
        "strided": [near, strided(tokens, window, causal=True)],
    }[kind]
    steps = [steps_to_learn(patterns, limit=most + (least < most), seed=s) for s in range(3)]
    assert least <= min(steps) <= max(steps) <= most


def test_bad_input(rng):
    for maker, name in ((local, "window"), (strided, "stride"), (blocks, "size")):
        with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
            maker(0, 1, causal=True)
        for bad in (0, -1, 2.0):
            with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got"):
                maker(5, bad, causal=True)
    good = local(4, 1, causal=True)
    with pytest.raises(TypeError, match="pattern must be a csr_array of bool, got ndarray"):
        SparseAttention(good.toarray())
    with pytest.raises(TypeError, match="pattern must be a csr_array of bool, got float64"):
        SparseAttention(good.astype(float))
    with pytest.raises(TypeError, match="pattern must be a csr_array of bool, got csc_array"):
        SparseAttention(good.tocsc())
    with pytest.raises(ValueError, match=r"pattern must be \(N ≥ 1, N\), got \(2, 4\)"):
        SparseAttention(good[[0, 1]])
    with pytest.raises(ValueError, match="let every token look at one, row 2 is empty"):
        SparseAttention(csr_array(np.diag([True, True, False, True])))
    for columns in ([0, 1, 2, 4], [0, 1, 2, -1]):
        outside = good.copy()
        outside = csr_array((np.ones(4, bool), np.array(columns), np.arange(5)), (4, 4))
        with pytest.raises(ValueError, match="pattern must name tokens 0 to 3"):
            SparseAttention(outside)
    twice = csr_array((np.ones(3, bool), np.array([0, 0, 1]), np.array([0, 2, 3])), (2, 2))
    unsorted = csr_array((np.ones(3, bool), np.array([1, 0, 1]), np.array([0, 2, 3])), (2, 2))
    absent = csr_array((np.array([True, False]), np.array([0, 1]), np.array([0, 1, 2])), (2, 2))
    for bad in (twice, unsorted, absent):
        with pytest.raises(ValueError, match="pattern must be canonical"):
            SparseAttention(bad)
    layer = SparseAttention(good)
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.ones((4, 2)))
    x = rng.standard_normal((4, 6))
    for bad in (x[:3], x[:, :5], x[:, :0], x[0]):
        with pytest.raises(ValueError, match=r"x must be \(4, 3 d\), d at least 1, got"):
            layer.forward(bad)
    for dtype in (int, np.float16):
        with pytest.raises(TypeError, match="x must be float32 or float64, got"):
            layer.forward(x.astype(dtype))
    for wrong in (np.nan, np.inf):
        bad = x.copy()
        bad[3, 5] = wrong
        with pytest.raises(ValueError, match="x must be finite"):
            layer.forward(bad)
    layer.forward(x)
    with pytest.raises(ValueError, match=r"dy must be \(4, 2\), got \(4, 3\)"):
        layer.backward(np.ones((4, 3)))
    with pytest.raises(TypeError, match="dy must be float64 like the input, got float32"):
        layer.backward(np.ones((4, 2), dtype=np.float32))
    layer.backward(np.ones((4, 2)))  # what was refused changed nothing
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((4, 2)))
