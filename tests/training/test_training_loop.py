from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sparse_from_scratch import random_csr
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import Epoch, accuracy, train


def descent(network, learning_rate=0.1):
    return StochasticGradientDescent(network, learning_rate=learning_rate)


def blobs(rng, n=20, dtype=np.float64):
    labels = np.arange(n) % 3
    return (rng.standard_normal((n, 4)) + labels[:, None]).astype(dtype), labels


def test_by_hand():
    network = Linear(np.array([[3.0], [4.0]]))
    x, labels = np.array([[0.0]]), np.array([1])
    assert accuracy(network, x, labels) == 0  # the tie (0, 0) goes to class 0
    (epoch,) = train(
        network,
        descent(network, 1.0),
        x,
        labels,
        epochs=1,
        batch_size=1,
        rng=np.random.default_rng(0),
        validation=(x, labels),
    )
    assert isinstance(epoch, Epoch)
    with pytest.raises(FrozenInstanceError):
        epoch.loss = 0.0  # a record of what was seen
    assert epoch.loss == pytest.approx(np.log(2), rel=1e-15)
    assert epoch.loss == pytest.approx(0.693, abs=0.0005)
    np.testing.assert_array_equal(network.grads["bias"], [0.5, -0.5])
    np.testing.assert_array_equal(network.grads["weight"], [[0], [0]])
    assert epoch.gradient_norm == pytest.approx(np.sqrt(0.5), rel=1e-15)
    assert epoch.gradient_norm == pytest.approx(0.707, abs=0.0005)
    np.testing.assert_array_equal(network.params["bias"], [-0.5, 0.5])
    assert epoch.update_ratio == pytest.approx(np.sqrt(0.5) / 5, rel=1e-15)
    assert epoch.update_ratio == pytest.approx(0.141, abs=0.0005)
    assert epoch.validation == accuracy(network, x, labels) == 1


def test_accuracy_by_hand_and_against_scikit_learn(rng):
    # Logits are the samples themselves; ties go to the class that comes first.
    network = Linear(np.eye(3))
    x = np.array([[3.0, 1, 2], [0, 0, 0], [1, 5, 5], [-3, -2, -1]])
    assert accuracy(network, x, np.array([0, 0, 2, 2])) == 0.75
    x, labels = rng.standard_normal((200, 3)), rng.integers(3, size=200)
    assert accuracy(network, x, labels) == accuracy_score(labels, x.argmax(axis=1))
    assert type(accuracy(network, x, labels)) is float


@pytest.mark.parametrize("batch_size", [8, 20])
def test_matches_scikit_learn_batch_by_batch(rng, batch_size):
    # 20 samples in batches of 8, 8 and 4: a mean of batch means would not be the mean.
    x, labels = blobs(rng)
    settings = {
        "hidden_layer_sizes": (5,),
        "activation": "tanh",
        "solver": "sgd",
        "alpha": 0,
        "momentum": 0.9,
        "nesterovs_momentum": False,
        "random_state": 0,
    }
    theirs = MLPClassifier(learning_rate_init=0.2, **settings)
    losses = []
    same = np.random.default_rng(1)
    for _ in range(4):
        total = 0.0
        for batch in minibatches(20, batch_size, rng=same):
            theirs.partial_fit(x[batch], labels[batch], classes=[0, 1, 2])
            total += theirs.loss_ * len(batch)
        losses.append(total / 20)

    start = MLPClassifier(learning_rate_init=1e-300, **settings)
    start.partial_fit(x, labels, classes=[0, 1, 2])  # the same first weights, not changed
    first, last = (Linear(w.T, b) for w, b in zip(start.coefs_, start.intercepts_, strict=True))
    network = Sequential([first, Activation(tanh), last])
    history = train(
        network,
        Momentum(network, learning_rate=0.2),
        x,
        labels,
        epochs=4,
        batch_size=batch_size,
        rng=np.random.default_rng(1),
    )
    np.testing.assert_allclose([epoch.loss for epoch in history], losses, rtol=1e-9)
    np.testing.assert_allclose(last.params["weight"], theirs.coefs_[1].T, rtol=1e-8)
    assert [epoch.validation for epoch in history] == [None] * 4


def test_norm_and_ratio_are_of_all_parameters_at_the_last_step(rng):
    x, labels = blobs(rng, 10)
    network = Sequential([Linear(rng.standard_normal((5, 4))), Linear(rng.standard_normal((3, 5)))])
    seen = []

    def step():
        # The k-th step multiplies every weight by 1 + k: its update ratio is k.
        seen.append(np.sqrt(sum((g**2).sum() for g in network.grads.values())))
        for theta in network.params.values():
            theta *= 1 + len(seen)

    optimizer = SimpleNamespace(learning_rate=0.1, step=step)
    history = train(network, optimizer, x, labels, epochs=2, batch_size=4, rng=rng)
    assert len(seen) == 6  # 4, 4 and 2 samples, twice
    assert [epoch.update_ratio for epoch in history] == pytest.approx([3, 6], rel=1e-12)
    assert [epoch.gradient_norm for epoch in history] == pytest.approx(seen[2::3], rel=1e-12)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_survive_the_ends_of_float32(size):
    network = Linear(np.full((2, 1), size, np.float32))

    def step():
        network.params["weight"] *= 2

    optimizer = SimpleNamespace(learning_rate=0.1, step=step)
    x, labels = np.zeros((1, 1), np.float32), np.array([0])
    rng = np.random.default_rng(0)
    (epoch,) = train(network, optimizer, x, labels, epochs=1, batch_size=1, rng=rng)
    assert epoch.update_ratio == pytest.approx(1, rel=1e-6)


def test_the_norm_of_a_sparse_gradient_is_that_of_a_dense_one():
    table = np.random.default_rng(0).standard_normal((50, 3))
    ids, labels = np.array([4, 7, 4, 40]), np.array([0, 2, 1, 0])
    norms = []
    for sparse in (False, True):
        network = Sequential([Embedding(table, sparse=sparse), Linear(np.eye(3))])
        settings = {"epochs": 2, "batch_size": 4, "rng": np.random.default_rng(0)}
        history = train(network, descent(network), ids, labels, **settings)
        norms.append([epoch.gradient_norm for epoch in history])
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    assert norms[0][0] > 0


def test_plain_descent_updates_by_rate_times_gradient(rng):
    x, labels = blobs(rng)
    network = Linear(rng.standard_normal((3, 4)))
    norm = np.sqrt((network.params["weight"] ** 2).sum())
    (epoch,) = train(network, descent(network, 0.01), x, labels, epochs=1, batch_size=20, rng=rng)
    assert epoch.update_ratio == pytest.approx(0.01 * epoch.gradient_norm / norm, rel=1e-12)


def test_a_network_of_zeros_has_an_infinite_ratio(rng):
    network = Linear(np.zeros((3, 4)))
    history = train(network, descent(network), *blobs(rng), epochs=2, batch_size=20, rng=rng)
    assert history[0].update_ratio == np.inf
    assert 0 < history[1].update_ratio < np.inf


def test_every_sample_is_shown_once_an_epoch_in_a_new_order(rng):
    x, labels = np.arange(10.0)[:, None], np.zeros(10, int)
    network, shown = Linear(np.zeros((2, 1))), []
    forward = network.forward
    network.forward = lambda batch: (shown.append(batch[:, 0]), forward(batch))[1]
    train(network, descent(network), x, labels, epochs=2, batch_size=4, rng=rng)
    assert [len(batch) for batch in shown] == [4, 4, 2, 4, 4, 2]
    first, second = np.concatenate(shown[:3]), np.concatenate(shown[3:])
    np.testing.assert_array_equal(np.sort(first), np.arange(10))
    np.testing.assert_array_equal(np.sort(second), np.arange(10))
    assert (first != second).any()


def test_the_same_seed_gives_the_same_bits_and_looking_changes_nothing():
    def run(seed, **watching):
        rng = np.random.default_rng(0)
        x, labels = blobs(rng, dtype=np.float32)
        network = mlp([4, 6, 3], rng=rng)
        shuffle = np.random.default_rng(seed)
        if watching:
            watching = {"validation": (x, labels), "after_epoch": lambda _: None}
        optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x, labels, epochs=3, batch_size=6, rng=shuffle, **watching)
        assert {theta.dtype for theta in network.params.values()} == {np.dtype(np.float32)}
        return np.concatenate([theta.ravel() for theta in network.params.values()])

    np.testing.assert_array_equal(run(0), run(0))
    np.testing.assert_array_equal(run(0), run(0, watch=True))
    assert (run(0) != run(1)).any()


def test_inputs_are_not_changed_and_parameters_are_trained_in_place(rng):
    x, labels = blobs(rng)
    kept_x, kept_labels = x.copy(), labels.copy()
    network = mlp([4, 6, 3], rng=rng, dtype=np.float64)
    params = network.params
    train(network, descent(network), x, labels, epochs=2, batch_size=7, rng=rng)
    assert all(network.params[name] is theta for name, theta in params.items())
    np.testing.assert_array_equal(x, kept_x)
    np.testing.assert_array_equal(labels, kept_labels)


def test_validation_is_measured_after_the_epoch_and_before_the_hook(rng):
    x, labels = blobs(rng)
    apart, labels_apart = blobs(rng, 31)
    network = Linear(np.zeros((3, 4)))
    measured, epochs = [], []

    def hook(epoch):
        epochs.append(epoch)
        measured.append(accuracy(network, apart, labels_apart))
        for theta in network.params.values():
            theta[...] = 0  # what the hook does, the next epoch begins with

    history = train(
        network,
        descent(network),
        x,
        labels,
        epochs=3,
        batch_size=20,
        rng=rng,
        validation=(apart, labels_apart),
        after_epoch=hook,
    )
    assert epochs == [1, 2, 3]
    assert [epoch.validation for epoch in history] == measured
    assert [epoch.loss for epoch in history] == pytest.approx([np.log(3)] * 3, rel=1e-12)
    assert accuracy(network, x, labels) == pytest.approx(7 / 20)  # zeros: all answers are 0


def test_validation_loss_is_the_mean_over_all_validation_samples(rng):
    apart, answers = blobs(rng, 7)
    network = Linear(rng.standard_normal((3, 4)))
    history = train(
        network,
        descent(network),
        *blobs(rng),
        epochs=2,
        batch_size=5,
        rng=rng,
        validation=(apart, answers),
    )
    z = network.forward(apart)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    by_hand = -log_p[np.arange(7), answers].mean()
    assert history[-1].validation_loss == pytest.approx(by_hand, rel=1e-12)
    assert history[0].validation_loss != history[1].validation_loss


def test_a_schedule_sets_the_rate_of_every_step_from_0_on(rng):
    x, labels = blobs(rng)
    rates, network = [], Linear(np.zeros((3, 4)))
    optimizer = descent(network)
    take = optimizer.step

    def step():
        rates.append(optimizer.learning_rate)
        take()

    optimizer.step = step
    train(
        network,
        optimizer,
        x,
        labels,
        epochs=2,
        batch_size=8,  # three steps an epoch
        rng=rng,
        schedule=lambda t: 1 / (1 + t),
    )
    assert rates == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]


def test_stop_sees_the_history_before_the_hook_and_ends_training_with_its_epoch(rng):
    calls = []

    def stop(history):
        calls.append(("stop", len(history), history[-1].validation_loss))
        return len(history) == 3

    network = Linear(np.zeros((3, 4)))
    history = train(
        network,
        descent(network),
        *blobs(rng),
        epochs=10,
        batch_size=20,
        rng=rng,
        validation=blobs(rng, 5),
        stop=stop,
        after_epoch=lambda epoch: calls.append(("hook", epoch)),
    )
    assert len(history) == 3
    expected = []
    for i, epoch in enumerate(history, start=1):
        expected += [("stop", i, epoch.validation_loss), ("hook", i)]
    assert calls == expected


def test_what_is_measured_is_the_network_in_use(rng):
    x, labels = blobs(rng)
    modes = []

    class Noted(Linear):
        training = True

        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    network = Noted(np.zeros((3, 4)))
    train(
        network,
        descent(network),
        x,
        labels,
        epochs=1,
        batch_size=10,
        rng=rng,
        validation=(x, labels),
    )
    assert modes == [True, True, False]
    accuracy(network, x, labels)
    assert modes[3:] == [False]
    assert network.training


def test_a_validation_set_that_makes_no_finite_logits_is_divergence():
    network = Linear(np.full((2, 1), 1e-300))
    apart = np.array([[1e300]]), np.array([0])
    network.params["weight"] *= 1e10
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match="diverged"):
        train(
            network,
            descent(network, 1e200),
            np.array([[1e-100], [2e-100]]),
            np.array([0, 1]),
            epochs=1,
            batch_size=2,
            rng=np.random.default_rng(0),
            validation=apart,
        )


def test_the_hook_may_rewire_a_sparse_layer(rng):
    layer = CSRLinear(random_csr((3, 4), 6, rng=rng, dtype=np.float64))
    optimizer = Momentum(layer, learning_rate=0.1)

    def grow(_):
        optimizer.follow("weight", layer.reconnect(np.arange(12)))

    history = train(
        layer, optimizer, *blobs(rng), epochs=2, batch_size=5, rng=rng, after_epoch=grow
    )
    assert len(history) == 2
    assert layer.weight.nnz == 12
    assert np.count_nonzero(layer.weight.data) == 12  # the new ones have learned


def test_it_learns_digits():
    rng = np.random.default_rng(0)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 32, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    history = train(network, optimizer, x, labels, epochs=8, batch_size=32, rng=rng)
    assert history[-1].loss < 0.15 < history[0].loss
    assert accuracy(network, x_test, labels_test) > 0.93


def best_of(m, n):
    """The exact expected best accuracy of m coin flippers on n samples."""
    below = stats.binom.cdf(np.arange(n), n, 0.5)
    return (1 - below**m).sum() / n


def test_pitfall_the_best_of_many_is_optimistic_by_the_stated_amount(rng):
    assert best_of(1, 100) == pytest.approx(0.5, rel=1e-12)
    assert best_of(50, 100) - 0.5 == pytest.approx(0.11, abs=0.005)
    assert 0.05 * np.sqrt(2 * np.log(50)) == pytest.approx(0.14, abs=0.0005)
    right = rng.integers(2, size=(400, 50, 200), dtype=np.int8)
    scores, fresh = right[..., :100].mean(axis=2), right[..., 100:].mean(axis=2)
    best = scores.argmax(axis=1)
    assert scores.max(axis=1).mean() == pytest.approx(best_of(50, 100), abs=0.005)
    assert fresh[np.arange(400), best].mean() == pytest.approx(0.5, abs=0.01)


@given(st.integers(2, 2000), st.integers(20, 2000))
def test_the_bound_on_the_optimism_holds_for_coins(m, n):
    # Exact for coins too: a centred sum of them has lighter tails than the normal of its variance.
    assert 0 < best_of(m, n) - 0.5 <= 0.5 / np.sqrt(n) * np.sqrt(2 * np.log(m))


def test_pitfall_the_test_set_as_a_compass_on_digits():
    rng = np.random.default_rng(0)
    small, large, fresh = [], [], []
    for _ in range(8):
        x, labels, rest, rest_labels = stratified_split(*load_digits(), rng=rng, test_fraction=0.8)
        network = mlp([64, 32, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=0.05)
        parts = [slice(0, 50), slice(0, 1000), slice(1000, None)]
        scores = []
        for _ in range(20):
            train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
            scores.append([accuracy(network, rest[part], rest_labels[part]) for part in parts])
        scores = np.array(scores)
        by_small, by_large = scores[:, 0].argmax(), scores[:, 1].argmax()
        small.append(scores[by_small, 0] - scores[by_small, 2])
        large.append(scores[by_large, 1] - scores[by_large, 2])
        fresh.append(scores[by_large, 2] - scores[by_small, 2])
    assert np.mean(small) > 0.02
    assert abs(np.mean(large)) < 0.01  # the cure: more samples to choose by, others to report
    assert np.mean(fresh) > 0  # and a better choice


def test_pitfall_the_training_loss_lags_behind():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, x_apart, labels_apart = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 32, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=0.05)
        (epoch,) = train(network, optimizer, x, labels, epochs=1, batch_size=32, rng=rng)
        apart = CrossEntropy().forward(network.forward(x_apart), labels_apart)
        now = CrossEntropy().forward(network.forward(x), labels)
        assert epoch.loss > 1.3
        assert apart < 0.9
        assert now < 0.9


def test_pitfall_nan_has_an_argmax():
    x, labels = load_digits()
    broken = Linear(np.full((10, 64), np.nan, np.float32))
    answers = broken.forward(x).argmax(axis=1)
    assert (answers == 0).all()
    assert (answers == labels).mean() == pytest.approx(0.1, abs=0.005)
    with pytest.raises(FloatingPointError, match="NaN: no class is the largest"):
        accuracy(broken, x, labels)
    broken.params["weight"][:] = 0
    broken.params["bias"][3] = -np.inf  # a class that is excluded has a rank: the last
    assert accuracy(broken, x, labels) == (labels == 0).mean()


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_of_thumb_for_the_ratio_is_half_true(seed):
    def run(learning_rate):
        rng = np.random.default_rng(seed)
        x, labels, *apart = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 32, 10], rng=rng)
        return train(
            network,
            descent(network, learning_rate),
            x,
            labels,
            epochs=10,
            batch_size=32,
            rng=rng,
            validation=tuple(apart),
        )

    slow, fast = run(0.01), run(0.1)
    assert all(0.001 < epoch.update_ratio < 0.0021 for epoch in slow)
    assert slow[-1].validation < 0.75
    assert 5 < fast[0].update_ratio / slow[0].update_ratio < 15
    assert fast[-1].validation > 0.9


def test_divergence_is_reported_and_not_averaged_away(rng):
    x, labels = blobs(rng, dtype=np.float32)
    with np.errstate(all="ignore"):
        network = mlp([4, 6, 3], rng=rng)
        with pytest.raises(FloatingPointError, match="diverged in epoch 2: logits not finite"):
            train(network, descent(network, 1e30), x, labels, epochs=5, batch_size=20, rng=rng)
        network = mlp([4, 6, 3], rng=rng)
        # The last step of all: no forward pass comes after it.
        with pytest.raises(FloatingPointError, match="diverged in epoch 1: weights not finite"):
            train(network, descent(network, 1e308), x, labels, epochs=1, batch_size=20, rng=rng)


def test_bad_input_changes_nothing(rng):
    x, labels = blobs(rng)
    network = mlp([4, 6, 3], rng=rng, dtype=np.float64)
    kept = {name: theta.copy() for name, theta in network.params.items()}
    optimizer = descent(network)

    def refused(error, match, x=x, labels=labels, epochs=1, batch_size=4, **settings):
        settings = {"epochs": epochs, "batch_size": batch_size, "rng": rng, **settings}
        with pytest.raises(error, match=match):
            train(network, optimizer, x, labels, **settings)
        for name, theta in network.params.items():
            np.testing.assert_array_equal(theta, kept[name])

    refused(ValueError, "epochs must be at least 1, got 0", epochs=0)
    refused(ValueError, "batch_size must be 1 to 20, got 0", batch_size=0)
    refused(ValueError, "batch_size must be 1 to 20, got 21", batch_size=21)
    refused(ValueError, r"labels must be \(20,\), got \(19,\)", labels=labels[1:])
    refused(ValueError, "n_samples must be at least 1", x=x[:0], labels=labels[:0])
    for wrong in (np.nan, np.inf):
        spoiled = x.copy()
        spoiled[-1, -1] = wrong
        refused(ValueError, "x must be finite", x=spoiled)
    # One wrong label anywhere is found before the first step, whichever batch it is in.
    for wrong, got in (-1, "-1 to 2"), (3, "0 to 3"):
        spoiled = labels.copy()
        spoiled[rng.integers(20)] = wrong
        refused(ValueError, f"labels must be 0 to 2, got {got}", labels=spoiled, batch_size=1)
        refused(ValueError, f"labels must be 0 to 2, got {got}", validation=(x, spoiled))
    refused(ValueError, "labels must be 0 to 2, got 1 to 3", labels=labels + 1)
    both = {"labels": labels + 1, "validation": (x, labels)}
    refused(ValueError, "labels must be 0 to 2, got 0 to 3", **both)
    # Validation is used after the first epoch, and looked at before.
    refused(TypeError, "validation must be float64 like x", validation=(x.astype("f4"), labels))
    spoiled = [np.where(x == x[3, 0], wrong, x) for wrong in (np.nan, -np.inf)]
    for apart in (x[:0], x[:, :3], *spoiled):
        with_labels = apart, labels[: len(apart)]
        refused(ValueError, r"validation must hold finite .* of \(4,\)", validation=with_labels)
    refused(TypeError, "labels must be integers", labels=labels.astype(float))
    refused(TypeError, "x must be float64 like the layer's weights", x=x.astype(np.float32))
    refused(
        ValueError,
        r"validation must hold a label for each of 20 samples, got \(19,\)",
        validation=(x, labels[1:]),
    )
    with pytest.raises(ValueError, match=r"labels must be \(20,\), got \(20, 1\)"):
        accuracy(network, x, labels[:, None])
    assert len(train(network, optimizer, x, labels, epochs=1, batch_size=20, rng=rng)) == 1
