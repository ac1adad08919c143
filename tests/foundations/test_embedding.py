import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import sum_labels
from scipy.sparse import csr_array
from sklearn.preprocessing import OneHotEncoder

from lexicon.foundations import embedding
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer, numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import train

W = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # the page's table
IDS = np.array([2, 0, 2])
DY = np.array([[1.0, 0.0], [0.0, 1.0], [10.0, 0.0]])

texts = st.integers(1, 6).flatmap(
    lambda n: st.sampled_from([(n,), (n, 3)]).flatmap(
        lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4))
    )
)


class Scaled:
    """Rows times x, number by number: an input that has a gradient, for the check."""

    def __init__(self, table, ids):
        self.table, self.ids = table, ids

    @property
    def params(self):
        return self.table.params

    @property
    def grads(self):
        return self.table.grads

    def forward(self, x):
        self.x, self.rows = x, self.table.forward(self.ids)
        return self.rows * x

    def backward(self, dy):
        self.table.backward(dy * self.x)
        return dy * self.rows


def test_by_hand():
    for sparse in (False, True):
        table = Embedding(W, sparse=sparse)
        np.testing.assert_array_equal(table.forward(IDS), [[5, 6], [1, 2], [5, 6]])
        dx = table.backward(DY)
        gradient = table.grads["weight"]
        assert isinstance(gradient, csr_array if sparse else np.ndarray)
        dense = gradient.toarray() if sparse else gradient
        np.testing.assert_array_equal(dense, [[0, 1], [0, 0], [11, 0]])
        assert dx.shape == (3,)
        assert np.isnan(dx).all()
    np.testing.assert_array_equal(gradient.indptr, [0, 2, 2, 4])  # cat, no dog, fish
    np.testing.assert_array_equal(gradient.indices, [0, 1, 0, 1])
    np.testing.assert_array_equal(gradient.data, [0, 1, 11, 0])  # a zero that was read is stored


@pytest.mark.parametrize("shape", [(6,), (4, 3)])
def test_gradient_alone_and_in_a_stack(rng, shape):
    table = Embedding(rng.standard_normal((5, 4)))
    ids = rng.integers(5, size=shape)
    ids.flat[:2] = 3  # a repeat for sure
    x = rng.standard_normal((*shape, 4))
    assert max(check_layer(Scaled(table, ids), x, rng=rng).values()) < 1e-9
    if len(shape) == 1:
        stack = Sequential(
            [
                Linear(rng.standard_normal((4, 4))),
                Scaled(table, ids),
                Linear(rng.standard_normal((3, 4)) / 4),
                Activation(tanh),
            ]
        )
        errors = check_layer(stack, x, rng=rng)
        assert len(errors) == 6
        assert max(errors.values()) < 1e-7


def test_gradient_as_the_first_layer_of_a_classifier(rng):
    network = Sequential(
        [Embedding(rng.standard_normal((5, 4))), Linear(rng.standard_normal((3, 4)))]
    )
    ids, labels, criterion = np.array([0, 4, 4, 1]), np.array([0, 1, 2, 1]), CrossEntropy()
    criterion.forward(network.forward(ids), labels)
    network.backward(criterion.backward())
    measured = numerical_gradient(
        lambda: criterion.forward(network.forward(ids), labels), network.params["0.weight"]
    )
    assert relative_error(network.grads["0.weight"], measured) < 1e-8
    assert not measured[[2, 3]].any()


@given(texts, st.integers(0, 9))
def test_it_is_the_product_with_one_hot_rows(ids, seed):
    rng = np.random.default_rng(seed)
    weight, dy = rng.standard_normal((5, 3)), rng.standard_normal((*ids.shape, 3))
    encoder = OneHotEncoder(categories=[np.arange(5)])
    one_hot = encoder.fit_transform(ids.reshape(-1, 1)).toarray()
    table, linear = Embedding(weight), Linear(weight.T)
    y = linear.forward(one_hot)
    np.testing.assert_array_equal(table.forward(ids), y.reshape(dy.shape))
    table.backward(dy)
    linear.backward(dy.reshape(-1, 3))
    np.testing.assert_allclose(table.grads["weight"], linear.grads["weight"].T, atol=1e-14)


@given(texts, st.integers(0, 9), st.sampled_from([np.float32, np.float64]))
def test_sparse_dense_loop_numpy_and_scipy_agree(ids, seed, dtype):
    rng = np.random.default_rng(seed)
    weight, dy = rng.standard_normal((5, 3)).astype(dtype), rng.standard_normal((*ids.shape, 3))
    dy = dy.astype(dtype)
    grads = []
    for sparse in (False, True):
        table = Embedding(weight, sparse=sparse)
        table.forward(ids)
        assert table.backward(dy).dtype == dtype
        grads.append(table.grads["weight"])
        assert grads[-1].dtype == dtype
        assert grads[-1].shape == (5, 3)
    dense, stored = grads
    np.testing.assert_array_equal(stored.toarray(), dense)  # to the bit: one order of summing
    np.testing.assert_array_equal(dense, embedding._reference(ids, dy, 5))
    added = np.zeros((5, 3), dtype)
    np.add.at(added, ids, dy)
    np.testing.assert_array_equal(dense, added)
    summed = [sum_labels(dy[..., j], ids, np.arange(5)) for j in range(3)]
    np.testing.assert_allclose(dense.T, summed, rtol=1e-5, atol=1e-6)
    # Canonical, by a look of its own: ascending columns, whole rows of what was read, and no other.
    fresh = csr_array((stored.data, stored.indices, stored.indptr), (5, 3))
    assert fresh.has_canonical_format
    assert stored.indices.dtype == stored.indptr.dtype == np.int32
    np.testing.assert_array_equal(np.flatnonzero(np.diff(stored.indptr)), np.unique(ids))
    assert stored.nnz == 3 * len(np.unique(ids))


@given(st.permutations(range(6)))
def test_the_order_of_the_places_does_not_matter(order):
    ids, dy = np.array([0, 3, 3, 1, 0, 3]), np.arange(12.0).reshape(6, 2)
    table = Embedding(np.zeros((4, 2)))
    grads = []
    for places in (range(6), order):
        table.forward(ids[list(places)])
        table.backward(dy[list(places)])
        grads.append(table.grads["weight"])
    np.testing.assert_array_equal(*grads)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_ids_of_every_integer_type_are_kept_as_they_are(kind):
    for sparse in (False, True):
        table, ids = Embedding(W, sparse=sparse), IDS.astype(kind)
        kept = ids.copy()
        y = table.forward(ids)
        y[:] = 0  # a copy: the table does not care
        table.backward(DY)
        np.testing.assert_array_equal(ids, kept)
        np.testing.assert_array_equal(table.params["weight"], W)
        gradient = table.grads["weight"]
        np.testing.assert_array_equal(
            gradient.toarray() if sparse else gradient, [[0, 1], [0, 0], [11, 0]]
        )


def test_the_weight_is_copied_and_dy_is_left():
    given_, dy = W.copy(), DY.copy()
    table = Embedding(given_)
    given_[:] = 0
    np.testing.assert_array_equal(table.forward(IDS)[0], [5, 6])
    table.backward(dy)
    np.testing.assert_array_equal(dy, DY)


def test_steps_with_either_gradient_give_the_same_table_to_the_bit(rng):
    weight, ids = rng.standard_normal((30, 4), dtype=np.float32), rng.integers(30, size=200)
    labels = ids % 3
    tables = []
    for sparse in (False, True):
        table = Embedding(weight, sparse=sparse)
        network = Sequential([table, Linear(np.zeros((3, 4), np.float32))])
        optimizer, criterion = GradientDescent(network, learning_rate=1.0), CrossEntropy()
        for batch in minibatches(200, 8, rng=np.random.default_rng(1)):
            before, held = table.params["weight"].copy(), table.params["weight"]
            criterion.forward(network.forward(ids[batch]), labels[batch])
            network.backward(criterion.backward())
            optimizer.step()
            assert table.params["weight"] is held
            unread = np.setdiff1d(np.arange(30), ids[batch])
            np.testing.assert_array_equal(held[unread], before[unread])
        tables.append(held)
    np.testing.assert_array_equal(*tables)
    assert (tables[0] != weight).any()


def test_a_sparse_pass_and_step_allocate_nothing_of_the_tables_size(rng):
    weight, ids = np.zeros((20_000, 50), np.float32), rng.integers(20_000, size=(8, 4))
    dy = np.ones((8, 4, 50), np.float32)
    peaks = {}
    for sparse in (False, True):
        table = Embedding(weight, sparse=sparse)
        optimizer = GradientDescent(table, learning_rate=0.5)
        tracemalloc.start()
        table.forward(ids)
        table.backward(dy)
        optimizer.step()
        peaks[sparse] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[True] < weight.nbytes / 10 < weight.nbytes <= peaks[False]


def test_the_bytes_and_flops_of_the_page():
    table = Embedding(np.zeros((50_000, 100), np.float32), sparse=True)
    table.forward(np.arange(32))
    table.backward(np.zeros((32, 100), np.float32))
    gradient = table.grads["weight"]
    assert table.params["weight"].nbytes == 20_000_000
    assert gradient.data.nbytes == gradient.indices.nbytes == 12_800
    assert gradient.indptr.nbytes == 200_004
    assert 2 * 12_800 + 200_004 == 225_604


ONES, TEENS, TENS = (
    kind.split()
    for kind in (
        "one two three four five six seven eight nine",
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
)


@pytest.mark.parametrize("seed", range(3))
def test_the_examples_words_find_their_kind(seed):
    below = [[word] for word in ["", *ONES, *TEENS]]
    below += [[ten, one] for ten in TENS for one in ["", *ONES]]
    numbers = [[one, "hundred"] * (one != "") + rest for one in ["", *ONES] for rest in below]
    words = [".", "hundred", *ONES, *TEENS, *TENS]
    ids = np.array([words.index(w) for number in numbers for w in [*number, "."] if w])
    assert len(words) == 29
    rng = np.random.default_rng(seed)
    table = Embedding(rng.standard_normal((29, 2), dtype=np.float32))
    kinds = np.repeat([0, 1, 2, 3, 4], [1, 1, 9, 10, 8])

    def right():
        weight = table.params["weight"]
        distance = np.linalg.norm(weight[:, None] - weight, axis=2) + 1e9 * np.eye(29)
        return (kinds[distance.argmin(axis=1)] == kinds)[2:].mean()

    network = Sequential([table, Linear(np.zeros((29, 2), np.float32))])
    optimizer, criterion = GradientDescent(network, learning_rate=1.0), CrossEntropy()
    assert criterion.forward(network.forward(ids[:-1]), ids[1:]) == pytest.approx(
        np.log(29), rel=1e-5
    )
    assert right() < 0.6
    rows = []
    for _ in range(5):
        for batch in minibatches(len(ids) - 1, 16, rng=rng):
            rows.append(len(np.unique(ids[batch])))
            criterion.forward(network.forward(ids[batch]), ids[batch + 1])
            network.backward(criterion.backward())
            optimizer.step()
    assert right() >= 0.9
    assert np.mean(rows) == pytest.approx(9, abs=0.5)


def test_train_takes_a_sparse_gradient():
    histories = []
    for sparse in (False, True):
        rng = np.random.default_rng(0)
        ids = rng.integers(6, size=120)
        table = Embedding(rng.standard_normal((6, 3), dtype=np.float32), sparse=sparse)
        network = Sequential([table, Linear(np.zeros((3, 3), np.float32))])
        optimizer = GradientDescent(network, learning_rate=0.5)
        history = train(network, optimizer, ids, ids % 3, epochs=3, batch_size=10, rng=rng)
        histories.append([(e.loss, e.gradient_norm, e.update_ratio) for e in history])
    np.testing.assert_allclose(*histories, rtol=1e-12)
    assert histories[0][0][0] > 3 * histories[0][2][0]


def test_train_takes_ids_for_samples(rng):
    ids = rng.integers(6, size=120)
    network = Sequential(
        [
            Embedding(rng.standard_normal((6, 3), dtype=np.float32)),
            Linear(np.zeros((3, 3), np.float32)),
        ]
    )
    optimizer = Momentum(network, learning_rate=0.5)
    history = train(
        network,
        optimizer,
        ids,
        ids % 3,
        epochs=5,
        batch_size=10,
        rng=rng,
        validation=(ids, ids % 3),
    )
    assert history[-1].validation == 1
    assert history[0].loss > 3 * history[-1].loss


def test_pitfall_repeats_are_lost():
    lost, found = np.zeros((3, 2)), np.zeros((3, 2))
    lost[IDS] += DY
    np.testing.assert_array_equal(lost[2], [10, 0])
    np.add.at(found, IDS, DY)
    np.testing.assert_array_equal(found[2], [11, 0])
    table = Embedding(W)
    table.forward(IDS)
    table.backward(DY)
    np.testing.assert_array_equal(table.grads["weight"], found)


def test_pitfall_an_unknown_word_is_minus_one():
    np.testing.assert_array_equal(W[np.array([-1])], [[5, 6]])
    with pytest.raises(ValueError, match="ids must be 0 to 2, got -1 to -1"):
        Embedding(W).forward(np.array([-1]))


def test_pitfall_rare_words_fade_and_a_sparse_gradient_says_so():
    table = Embedding(W)
    table.grads = {"weight": np.zeros((3, 2))}
    optimizer = GradientDescent(table, learning_rate=0.1, weight_decay=0.1)
    for _ in range(300):
        optimizer.step()
    np.testing.assert_allclose(table.params["weight"], W * 0.99**300)
    assert 0.99**300 < 0.05
    kept = table.params["weight"].copy()
    table.sparse = True
    table.forward(IDS)
    table.backward(DY)
    with pytest.raises(RuntimeError, match="weight must be dense for weight_decay"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="weight must be dense for Momentum, got a csr_array"):
        Momentum(table, learning_rate=0.1).step()
    np.testing.assert_array_equal(table.params["weight"], kept)


def test_bad_weight():
    for dtype in (np.int64, np.float16, bool):
        with pytest.raises(TypeError, match="weight must be float32 or float64, got"):
            Embedding(np.ones((2, 3), dtype))
    for shape in [(), (3,), (0, 3), (2, 0), (1, 2, 3)]:
        with pytest.raises(
            ValueError, match=r"weight must be \(vocabulary, dim\), neither of them"
        ):
            Embedding(np.ones(shape))


def test_bad_ids_and_gradients_leave_everything_as_it_was():
    table = Embedding(W)
    with pytest.raises(RuntimeError, match="forward first"):
        table.backward(DY)
    for dtype in (np.float64, bool):
        with pytest.raises(TypeError, match="ids must be integers, got"):
            table.forward(IDS.astype(dtype))
    for shape in [(), (0,), (0, 3), (2, 0), (1, 2, 3)]:
        with pytest.raises(ValueError, match=r"ids must be \(N ≥ 1,\) or \(N ≥ 1, T ≥ 1\), got"):
            table.forward(np.zeros(shape, np.int64))
    for bad, said in ([0, 3], "0 to 3"), ([-1, 0], "-1 to 0"), ([[1, 9]], "1 to 9"):
        with pytest.raises(ValueError, match=f"ids must be 0 to 2, got {said}"):
            table.forward(np.array(bad))
    with pytest.raises(RuntimeError, match="forward first"):
        table.backward(DY)
    table.forward(IDS)
    with pytest.raises(TypeError, match="dy must be float64 like the weight, got float32"):
        table.backward(DY.astype(np.float32))
    for shape in [(), (3,), (2, 2), (3, 1), (3, 2, 1), (6,)]:
        with pytest.raises(ValueError, match=r"dy must be \(3, 2\) like the output, got"):
            table.backward(np.ones(shape))
    assert table.grads == {}
    table.backward(DY)
    np.testing.assert_array_equal(table.grads["weight"][2], [11, 0])
    with pytest.raises(RuntimeError, match="one for each backward"):
        table.backward(DY)
