import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexicon.foundations.gradient_check import numerical_gradient, relative_error
from lexicon.sparsity import sampled_gradient as module
from lexicon.sparsity.sampled_gradient import (
    _reference,
    blocked,
    fastest,
    gathered,
    gathered_by_row,
    sampled_gradient,
)

WAYS = [sampled_gradient, gathered, blocked]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)

# The worked case of the page: three of six weights exist.
DY = np.array([[1.0, -1.0], [2.0, 0.0]])
X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
INDPTR, INDICES = np.array([0, 1, 3]), np.array([2, 0, 2])


def drawn(seed, samples, n_out, n_in, density):
    # Small whole numbers: every order of summation gives the same bits.
    rng = np.random.default_rng(seed)
    mask = rng.random((n_out, n_in)) < density
    stored = csr_array(mask)
    dy = rng.integers(-3, 4, size=(samples, n_out)).astype(float)
    x = rng.integers(-3, 4, size=(samples, n_in)).astype(float)
    return dy, x, stored.indptr, stored.indices, mask


def peak_of(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


cases = st.builds(
    drawn,
    st.integers(0, 2**32),
    samples=st.integers(1, 5),
    n_out=st.integers(1, 9),
    n_in=st.integers(1, 9),
    density=st.floats(0, 1),
)


@pytest.mark.parametrize("way", [*WAYS, _reference], ids=lambda way: way.__name__)
def test_by_hand(way):
    np.testing.assert_array_equal(DY.T @ X, [[9, 12, 15], [-1, -2, -3]])
    np.testing.assert_array_equal(way(DY, X, INDPTR, INDICES), [15, -1, -3])


@given(cases)
def test_every_way_agrees_with_plain_loops_and_with_the_dense_gradient(case):
    dy, x, indptr, indices, mask = case
    expected = np.einsum("ni,nj->ij", dy, x)[mask]
    np.testing.assert_array_equal(_reference(dy, x, indptr, indices), expected)
    for way in WAYS:
        np.testing.assert_array_equal(way(dy, x, indptr, indices), expected)


@every_way
@pytest.mark.parametrize("n_out", [63, 64, 65, 127, 128, 129, 256, 257])
def test_blocks_and_chunks_meet_without_gap_or_overlap(way, n_out):
    # Fully stored, so the number of positions crosses a chunk's 1024 at most of these.
    dy, x, indptr, indices, _ = drawn(n_out, 3, n_out, 16, 1.1)
    np.testing.assert_array_equal(way(dy, x, indptr, indices), (dy.T @ x).ravel())


@every_way
def test_matches_scipys_product_with_the_pattern(way, rng):
    dy, x = rng.standard_normal((9, 70)), rng.standard_normal((9, 50))
    stored = csr_array(rng.random((70, 50)) < 0.3)
    expected = stored.multiply(dy.T @ x).tocsr()
    np.testing.assert_array_equal(expected.indices, stored.indices)
    actual = way(dy, x, stored.indptr, stored.indices)
    np.testing.assert_allclose(actual, expected.data, rtol=1e-12, atol=1e-12)


@every_way
def test_is_the_derivative_of_a_sparse_product(way, rng):
    x, dy = rng.standard_normal((5, 6)), rng.standard_normal((5, 4))
    weight = csr_array((rng.random((4, 6)) < 0.4) * rng.standard_normal((4, 6)))
    measured = numerical_gradient(lambda: float(((weight @ x.T).T * dy).sum()), weight.data)
    assert relative_error(way(dy, x, weight.indptr, weight.indices), measured) < 1e-9


@given(cases, st.permutations(range(5)))
def test_the_order_of_samples_does_not_matter_and_their_gradients_add(case, order):
    dy, x, indptr, indices, _ = case
    order = [n for n in order if n < len(dy)]
    for way in WAYS:
        whole = way(dy, x, indptr, indices)
        np.testing.assert_array_equal(way(dy[order], x[order], indptr, indices), whole)
        alone = [way(dy[n : n + 1], x[n : n + 1], indptr, indices) for n in order]
        np.testing.assert_array_equal(sum(alone), whole)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([0, 0, 0, 0], gathered),
        ([2, 2, 2, 1], gathered),  # 7 of 100
        ([2, 2, 2, 2], gathered_by_row),  # 8 of 100
        ([2, 2, 2, 3], blocked),  # 9 of 100
        ([3, 3, 3, 3], gathered_by_row),
        ([3, 3, 3, 5], blocked),  # 14 of 100
        ([4, 4, 4, 4], blocked),
        ([25, 25, 25, 25], blocked),
    ],
)
def test_density_and_evenness_choose_the_way(rows, chosen, monkeypatch):
    indptr = np.cumsum([0, *rows])
    assert fastest((4, 25), indptr) is chosen
    dy, x, indices = np.ones((3, 4)), np.ones((3, 25)), np.zeros(sum(rows), dtype=int)
    monkeypatch.setattr(module, "fastest", lambda *given: lambda *passed: (given, passed))
    given, passed = sampled_gradient(dy, x, indptr, indices)
    assert given[0] == (4, 25)
    assert given[1] is indptr
    for got, meant in zip(passed, (dy, x, indptr, indices), strict=True):
        assert got is meant


def test_a_density_at_the_crossing_itself_is_gathered():
    assert fastest((5, 10), np.array([0, 2, 3, 3, 3, 4])) is gathered  # 4 of 50, 8 %
    assert fastest((2, 50), np.array([0, 7, 14])) is gathered_by_row  # 14 %


@given(
    seed=st.integers(0, 2**32),
    samples=st.integers(1, 5),
    n_out=st.integers(1, 9),
    n_in=st.integers(1, 9),
    data=st.data(),
)
def test_by_row_agrees_with_plain_loops(seed, samples, n_out, n_in, data):
    k = data.draw(st.integers(1, n_in))
    dy, x, *_ = drawn(seed, samples, n_out, n_in, 1)
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.permuted(np.tile(np.arange(n_in), (n_out, 1)), axis=1)[:, :k], axis=1)
    indptr = np.arange(0, n_out * k + 1, k)
    kept = [dy.copy(), x.copy()]
    gradient = gathered_by_row(dy, x, indptr, indices.ravel())
    np.testing.assert_array_equal(gradient, _reference(dy, x, indptr, indices.ravel()))
    for array, before in zip((dy, x), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("k", [1, 7, 64, 1000, 1500])
def test_by_row_chunks_meet_without_gap_or_overlap(k, rng):
    n_out, n_in = 40, 1500
    dy, x = (rng.integers(-3, 4, size=(2, n)).astype(np.float32) for n in (n_out, n_in))
    indices = np.concatenate([np.sort(rng.permutation(n_in)[:k]) for _ in range(n_out)])
    gradient = gathered_by_row(dy, x, np.arange(0, n_out * k + 1, k), indices)
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, (dy.T @ x)[np.repeat(np.arange(n_out), k), indices])


def test_by_row_fetches_half_as_much():
    n, k, samples = 4000, 64, 256
    x_t = dy_t = np.ones((n, samples))
    indptr, indices = np.arange(0, n * k + 1, k), np.arange(n * k) % n
    of_all = peak_of(lambda: gathered(dy_t.T, x_t.T, indptr, indices)) - 8 * n * k
    by_row = peak_of(lambda: gathered_by_row(dy_t.T, x_t.T, indptr, indices)) - 8 * n * k
    assert by_row < 1.1 * 1024 * samples * 8
    assert of_all > 1.9 * 1024 * samples * 8
    k = 3000  # one row is more than a chunk
    indptr, indices = np.arange(0, 4 * k + 1, k), np.arange(4 * k) % n
    by_row = peak_of(lambda: gathered_by_row(dy_t[:4].T, x_t.T, indptr, indices)) - 8 * 4 * k
    assert 1 <= by_row / (k * samples * 8) < 1.1


@pytest.mark.parametrize("indptr", [[0, 1, 3], [0, 0, 3], [0, 3, 3], [0, 0, 0]])
def test_by_row_refuses_rows_of_different_lengths(indptr):
    with pytest.raises(ValueError, match="indptr must give every row equally many positions"):
        gathered_by_row(DY, X, np.array(indptr), np.zeros(indptr[-1], dtype=int))


@every_way
@pytest.mark.parametrize("index_type", [np.int32, np.int64, np.uint64])
def test_float32_stays_and_nothing_is_changed(way, index_type, rng):
    arguments = [
        rng.standard_normal((4, 2), dtype=np.float32),
        rng.standard_normal((4, 3), dtype=np.float32),
        INDPTR.astype(index_type),
        INDICES.astype(index_type),
    ]
    kept = [argument.copy() for argument in arguments]
    gradient = way(*arguments)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, _reference(*arguments), rtol=1e-5, atol=1e-6)
    for argument, before in zip(arguments, kept, strict=True):
        np.testing.assert_array_equal(argument, before)


def test_gathering_holds_one_short_row_number_for_each_position(rng):
    stored = csr_array(rng.random((1000, 1000)) < 0.5)
    dy, x = np.ones((2, 1, 1000))
    peak = peak_of(lambda: gathered(dy, x, stored.indptr, stored.indices))
    assert peak < (8 + 3) * stored.nnz  # 8 bytes of result, 2 of row number


def test_the_numbers_in_the_pages_prose():
    assert 200_000 * 10 == 2e6
    assert 200_000**2 * np.dtype(np.float32).itemsize == 160e9
    assert module._CHUNK == 1024
    assert module._BLOCK == 128
    assert (module._CROSSING, module._CROSSING_BY_ROW) == (0.08, 0.14)
    assert 12 < 1 / module._CROSSING < 13


def test_gathering_copies_nothing_that_a_layer_hands_on_as_a_transpose(rng):
    stored = csr_array((np.ones(500), rng.integers(4000, size=500), np.r_[[0] * 4000, 500]))
    x_t, dy_t = rng.standard_normal((2, 4000, 64))
    handed_on = peak_of(lambda: gathered(dy_t.T, x_t.T, stored.indptr, stored.indices))
    c_ordered = [np.ascontiguousarray(dy_t.T), np.ascontiguousarray(x_t.T)]
    copied = peak_of(lambda: gathered(*c_ordered, stored.indptr, stored.indices))
    assert copied - handed_on > 1.9 * x_t.nbytes
    assert handed_on < 0.4 * x_t.nbytes  # the vectors of 500 positions, twice 0.256 MB


def test_pitfall_the_whole_gradient_first(rng):
    # As the page shows: a hundred and twenty-eight megabytes for forty thousand numbers.
    x, dy = rng.standard_normal((2, 32, 4000))
    indptr, indices = np.arange(0, 40_001, 10), np.arange(40_000) * 97 % 4000
    rows = np.repeat(np.arange(4000), 10)
    whole = (dy.T @ x)[rows, indices]
    assert peak_of(lambda: (dy.T @ x)[rows, indices]) > 128e6
    for way in WAYS:
        np.testing.assert_allclose(way(dy, x, indptr, indices), whole, atol=1e-12)
        assert peak_of(lambda way=way: way(dy, x, indptr, indices)) < 5e6


def test_pitfall_gathering_all_at_once(rng):
    # As the page shows: 5 % of the positions, and six times the dense gradient at a batch of 128.
    x, dy = rng.standard_normal((2, 128, 1000))
    stored = csr_array(np.arange(1_000_000).reshape(1000, 1000) % 20 == 0)
    rows = np.repeat(np.arange(1000), 50)
    np.testing.assert_array_equal(stored.indices, np.arange(50_000) * 20 % 1000)

    def at_once():
        return (dy[:, rows] * x[:, stored.indices]).sum(axis=0)

    np.testing.assert_allclose(gathered(dy, x, stored.indptr, stored.indices), at_once())
    assert (dy.T @ x).nbytes == 8e6
    assert peak_of(at_once) > 100e6
    assert peak_of(lambda: gathered(dy, x, stored.indptr, stored.indices)) < 6e6
    assert peak_of(lambda: blocked(dy, x, stored.indptr, stored.indices)) < 2e6


def test_pitfall_the_two_batches_swapped():
    # A square layer cannot tell; one that is not square can.
    indptr, indices = np.array([0, 1, 1]), np.array([1])
    for way in WAYS:
        np.testing.assert_array_equal(way(DY, X[:, :2], indptr, indices), [12])
        np.testing.assert_array_equal(way(X[:, :2], DY, indptr, indices), [-1])
        with pytest.raises(ValueError, match="indptr"):
            way(X, DY, INDPTR, INDICES)


@every_way
def test_narrow_indices_do_not_limit_the_rows(way):
    dy, x, indptr, indices, mask = drawn(0, 2, 300, 5, 0.5)
    gradient = way(dy, x, indptr.astype(np.int16), indices.astype(np.int8))
    np.testing.assert_array_equal(gradient, (dy.T @ x)[mask])


@every_way
@pytest.mark.parametrize(("n_out", "n_in"), [(0, 3), (3, 0), (0, 0)])
def test_no_neurons_have_no_gradient(way, n_out, n_in):
    dy, x, indices = np.ones((2, n_out)), np.ones((2, n_in)), np.zeros(0, dtype=int)
    assert way(dy, x, np.zeros(n_out + 1, dtype=int), indices).shape == (0,)
    with pytest.raises(ValueError, match="indptr must give every row equally many positions"):
        gathered_by_row(dy, x, np.zeros(n_out + 1, dtype=int), indices)


@every_way
def test_no_connections_have_no_gradient(way):
    gradient = way(DY, X, np.zeros(3, dtype=int), np.zeros(0, dtype=int))
    assert gradient.shape == (0,)
    assert gradient.dtype == np.float64


@pytest.mark.parametrize("way", [*WAYS, gathered_by_row], ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"dy": DY.astype(np.float32)}, TypeError, "dy and x .* got float32 and float64"),
        ({"x": X.astype(np.float32)}, TypeError, "dy and x .* got float64 and float32"),
        ({"dy": DY.astype(int), "x": X.astype(int)}, TypeError, "dy and x .* int64 and int64"),
        ({"indptr": INDPTR.astype(float)}, TypeError, "indptr .* got float64 and int64"),
        ({"indices": INDICES.astype(float)}, TypeError, "indices .* got int64 and float64"),
        ({"dy": DY[0]}, ValueError, r"dy and x .* got \(2,\) and \(2, 3\)"),
        ({"x": X[0]}, ValueError, r"dy and x .* got \(2, 2\) and \(3,\)"),
        ({"x": X[:, 0]}, ValueError, r"dy and x .* got \(2, 2\) and \(2,\)"),
        ({"dy": np.array(1.0)}, ValueError, r"dy and x .* got \(\) and \(2, 3\)"),
        ({"x": np.array(1.0)}, ValueError, r"dy and x .* got \(2, 2\) and \(\)"),
        ({"x": X[:1]}, ValueError, r"dy and x .* got \(2, 2\) and \(1, 3\)"),
        ({"dy": DY[:0], "x": X[:0]}, ValueError, r"N ≥ 1, out.* got \(0, 2\) and \(0, 3\)"),
        ({"indices": INDICES[:, None]}, ValueError, r"indices must be \(nnz,\), got \(3, 1\)"),
        ({"indptr": INDPTR[:-1]}, ValueError, r"indptr must be \(3,\), from 0 to 3, got \(2,\)"),
        ({"indptr": np.array([[0, 1, 3]])}, ValueError, r"indptr must be .* got \(1, 3\)"),
        ({"indptr": np.array([1, 1, 3])}, ValueError, "indptr must be .* from 0 to 3"),
        ({"indptr": np.array([0, 1, 2])}, ValueError, "indptr must be .* from 0 to 3"),
        ({"indptr": np.array([0, 4, 3])}, ValueError, "indptr must never descend"),
        (
            {"indptr": np.array([0, 4, 3], dtype=np.uint64)},
            ValueError,
            "indptr must never descend",
        ),
        ({"indices": np.array([-1, 0, 2])}, ValueError, "indices must be 0 to 2, got -1 to 2"),
        ({"indices": np.array([3, 0, 2])}, ValueError, "indices must be 0 to 2, got 0 to 3"),
    ],
)
def test_bad_input(way, changed, error, message):
    arguments = {"dy": DY, "x": X, "indptr": INDPTR, "indices": INDICES} | changed
    with pytest.raises(error, match=message):
        way(**arguments)
