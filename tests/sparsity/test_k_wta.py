import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.k_wta import KWinnersTakeAll

# Few distinct values, so that ties are the rule and not the exception.
batches = arrays(np.float64, (4, 7), elements=st.integers(-3, 3).map(float))


def test_by_hand():
    layer = KWinnersTakeAll(2)
    x = np.array([[0.3, -1.0, 2.0, 0.5], [-4.0, -3.0, -2.0, -1.0]])
    np.testing.assert_array_equal(layer.forward(x), [[0, 0, 2.0, 0.5], [0, 0, -2.0, -1.0]])
    dy = np.array([[10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(layer.backward(dy), [[0, 0, 30.0, 40.0], [0, 0, 3.0, 4.0]])


def test_ties_go_to_the_first():
    y = KWinnersTakeAll(2).forward(np.array([[7.0, 7.0, 7.0, 7.0], [0.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(y, [[7.0, 7.0, 0, 0], [0, 1.0, 1.0, 0]])


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 6))
    assert max(check_layer(KWinnersTakeAll(3), x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((8, 6)), rng.standard_normal(8)),
            KWinnersTakeAll(3),
            Linear(rng.standard_normal((4, 8))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(batches, st.integers(1, 7))
def test_exactly_k_per_sample_and_none_better_left_out(x, k):
    layer = KWinnersTakeAll(k)
    layer.forward(x)
    winners = layer.backward(np.ones_like(x)) == 1
    assert (winners.sum(axis=1) == k).all()
    for row, won in zip(x, winners, strict=True):
        assert sorted(row[won]) == sorted(row)[-k:]


@given(batches, st.integers(1, 7))
def test_matches_a_stable_sort(x, k):
    # NumPy's stable sort of the negated values is an oracle for "largest, then first".
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    expected = np.zeros_like(x)
    np.put_along_axis(expected, order, np.take_along_axis(x, order, axis=1), axis=1)
    np.testing.assert_array_equal(KWinnersTakeAll(k).forward(x), expected)


@given(batches)
def test_all_winners_is_the_identity(x):
    np.testing.assert_array_equal(KWinnersTakeAll(7).forward(x), x)


@given(batches, st.permutations(range(4)), st.integers(1, 7))
def test_samples_do_not_see_each_other(x, order, k):
    y = KWinnersTakeAll(k).forward(x)
    np.testing.assert_array_equal(KWinnersTakeAll(k).forward(x[order]), y[order])


def test_the_input_is_not_changed_and_float32_stays(rng):
    x = rng.standard_normal((3, 5), dtype=np.float32)
    kept = x.copy()
    layer = KWinnersTakeAll(2)
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones_like(x)).dtype == np.float32
    np.testing.assert_array_equal(x, kept)


def test_pitfall_winners_over_the_batch_axis():
    # One loud sample takes every place, and the quiet one is erased.
    x = np.array([[5.0, 6.0, 7.0], [0.1, 0.2, 0.3]])
    over_the_batch = KWinnersTakeAll(1).forward(x.T).T
    np.testing.assert_array_equal(over_the_batch, [[5.0, 6.0, 7.0], [0, 0, 0]])
    np.testing.assert_array_equal(KWinnersTakeAll(1).forward(x), [[0, 0, 7.0], [0, 0, 0.3]])


def test_pitfall_a_threshold_keeps_too_many_where_values_tie():
    x = np.array([[1.0, 1.0, 1.0, 0.0]])
    assert (x >= np.sort(x)[:, -2:-1]).sum() == 3
    assert (KWinnersTakeAll(2).forward(x) != 0).sum() == 2


def test_pitfall_a_neuron_that_never_wins_never_learns(rng):
    hidden = Linear(rng.standard_normal((3, 2)), np.array([0.0, 0.0, -100.0]))
    network = Sequential([hidden, KWinnersTakeAll(1)])
    network.forward(rng.standard_normal((50, 2)))
    network.backward(rng.standard_normal((50, 3)))
    np.testing.assert_array_equal(hidden.grads["weight"][2], [0, 0])
    assert hidden.grads["bias"][2] == 0
    assert (hidden.grads["weight"][:2] != 0).all()


def test_bad_input():
    with pytest.raises(TypeError, match=r"k must be an integer, got 1\.5"):
        KWinnersTakeAll(1.5)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        KWinnersTakeAll(0)
    layer = KWinnersTakeAll(3)
    with pytest.raises(ValueError, match="k must be 1 to 2, got 3"):
        layer.forward(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="x must be"):
        layer.forward(np.zeros(5))
    with pytest.raises(ValueError, match="x must be"):
        layer.forward(np.zeros((0, 5)))
    with pytest.raises(ValueError, match="NaN"):
        layer.forward(np.array([[1.0, 2.0, np.nan]]))
    with pytest.raises(TypeError, match="x must be floating point, got int64"):
        layer.forward(np.ones((1, 5), dtype=np.int64))
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 5)))
    layer.forward(np.ones((1, 5)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 5\)"):
        layer.backward(np.zeros((1, 4)))
    with pytest.raises(TypeError, match="dy must be float64 like the input, got float32"):
        layer.backward(np.zeros((1, 5), dtype=np.float32))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 5))), [[1, 1, 1, 0, 0]])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((1, 5)))
