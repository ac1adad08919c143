from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.early_stopping import EarlyStopping
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import Epoch, accuracy, train


def seen(loss, validation=0.5):
    return Epoch(
        loss=1.0,
        validation=validation,
        validation_loss=loss,
        gradient_norm=1.0,
        update_ratio=0.1,
    )


def ask(losses, network=None, **settings):
    """Feed losses one by one, as train does, until it says stop."""
    network = network or Linear(np.zeros((1, 1)))
    stop, history = EarlyStopping(network, **settings), []
    for i, loss in enumerate(losses, 1):
        network.params["weight"][:] = i  # which epoch's network this is
        history.append(seen(loss))
        if stop(history):
            return stop, i
    return stop, None


LOSSES = [0.9, 0.6, 0.7, 0.5, 0.52, 0.55, 0.51, 0.4]


def test_by_hand():
    # The page's table: the bad epoch 3 is forgiven, epochs 5, 6 and 7 in a row are not.
    stop, stopped = ask(LOSSES, patience=3)
    assert (stopped, stop.best_epoch, stop.best_loss) == (7, 4, 0.5)
    assert stop.best.params["weight"][0, 0] == 4
    assert stop.network.params["weight"][0, 0] == 7
    # Impatience stops at the first bad epoch; more patience reaches epoch 8.
    stop, stopped = ask(LOSSES, patience=1)
    assert (stopped, stop.best_epoch, stop.best_loss) == (3, 2, 0.6)
    stop, stopped = ask(LOSSES, patience=4)
    assert (stopped, stop.best_epoch, stop.best_loss) == (None, 8, 0.4)


def test_by_hand_with_a_least_improvement():
    losses = [1.0, 0.75, 0.5, 0.375, 0.125]  # exact in binary
    stop, stopped = ask(losses, patience=1, min_delta=0.25)
    assert (stopped, stop.best_epoch) == (2, 1)  # 0.75 is not below 1 - 0.25
    # Measured from the best, not from the last epoch: small gains add up.
    stop, stopped = ask(losses, patience=2, min_delta=0.25)
    assert (stopped, stop.best_epoch, stop.best_loss) == (None, 5, 0.125)
    assert ask([1.0, 0.999], patience=1)[1] is None  # by default any gain counts
    assert ask([1.0, 1.0], patience=1)[1] == 2  # and a tie does not


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=20),
    st.integers(1, 6),
)
def test_stops_when_the_first_minimum_so_far_is_patience_old(losses, patience):
    stop, stopped = ask(losses, patience=patience)
    ages = [n - 1 - int(np.argmin(losses[:n])) for n in range(1, len(losses) + 1)]
    expected = next((n for n, age in enumerate(ages, 1) if age >= patience), None)
    assert stopped == expected
    shown = losses[:stopped]
    assert stop.best_epoch == 1 + int(np.argmin(shown))
    assert stop.best_loss == min(shown)
    assert stop.best.params["weight"][0, 0] == stop.best_epoch


def test_before_any_epoch_the_best_is_a_copy_of_what_was_given():
    network = Linear(np.ones((2, 3)))
    stop = EarlyStopping(network, patience=1)
    network.params["weight"] += 1
    np.testing.assert_array_equal(stop.best.params["weight"], np.ones((2, 3)))
    assert (stop.best_loss, stop.best_epoch) == (np.inf, 0)
    assert (stop.patience, stop.min_delta) == (1, 0.0)


def test_counts_on_when_training_continues_in_another_call():
    stop = EarlyStopping(Linear(np.zeros((1, 1))), patience=3)
    first, second = [], []
    for loss in (0.9, 0.5):
        first.append(seen(loss))
        assert not stop(first)
    answers = []
    for loss in (0.6, 0.7, 0.8):
        second.append(seen(loss))
        answers.append(stop(second))
    assert answers == [False, False, True]
    assert stop.best_epoch == 2
    second.append(seen(0.4))
    assert not stop(second)
    assert stop.best_epoch == 6


def test_train_ends_with_the_epoch_that_uses_up_the_patience(rng):
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng, test_fraction=0.9)
    network = mlp([64, 32, 10], rng=rng)
    stop = EarlyStopping(network, patience=3)
    history = train(
        network,
        Momentum(network, learning_rate=0.1),
        x,
        labels,
        epochs=60,
        batch_size=16,
        rng=rng,
        validation=(apart, answers),
        stop=stop,
    )
    losses = [epoch.validation_loss for epoch in history]
    assert len(history) == stop.best_epoch + 3 < 60
    assert stop.best_loss == min(losses) == losses[stop.best_epoch - 1]
    kept = CrossEntropy().forward(stop.best.forward(apart), answers)
    assert kept == pytest.approx(stop.best_loss, rel=1e-6)
    assert accuracy(stop.best, apart, answers) == history[stop.best_epoch - 1].validation


def test_keeps_the_connections_of_the_best_epoch_of_a_network_that_rewires(rng):
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng, test_fraction=0.7)
    network = sparse_mlp([64, 32, 10], density=0.3, rng=rng)
    optimizer = Momentum(network, learning_rate=0.1)
    stop = EarlyStopping(network, patience=2)
    settings = {"epochs": 12, "batch_size": 16, "rng": rng, "validation": (apart, answers)}
    train(
        network,
        optimizer,
        x,
        labels,
        after_epoch=lambda _: rewire_network(network, optimizer, fraction=0.3, rng=rng),
        stop=stop,
        **settings,
    )
    rewire_network(network, optimizer, fraction=0.3, rng=rng)
    mine, theirs = stop.best.layers[0], network.layers[0]
    assert (mine.positions != theirs.positions).any()
    assert mine.params["weight"] is mine.weight.data  # a layer in working order
    loss = CrossEntropy().forward(stop.best.forward(apart), answers)
    assert loss == pytest.approx(stop.best_loss, rel=1e-5)
    train(stop.best, Momentum(stop.best, learning_rate=0.1), x, labels, **settings)


class Counter:
    """A layer that keeps something beside its parameters, as running statistics are."""

    def __init__(self):
        self.params, self.grads = {}, {}
        self.running = np.zeros(1)

    def forward(self, x):
        self.running += 1
        return x


def test_keeps_what_is_not_a_parameter_too():
    counter = Counter()
    network = Sequential([counter])
    stop, history = EarlyStopping(network, patience=5), []
    for loss in (0.5, 0.4, 0.6):
        network.forward(np.ones((1, 1)))
        history.append(seen(loss))
        stop(history)
    assert stop.best.layers[0].running[0] == 2
    assert counter.running[0] == 3


# What the page says of a quadratic.


@given(st.floats(0.01, 1.9), st.integers(0, 40), st.floats(-3, 3))
def test_gradient_descent_has_gone_a_share_of_the_way(step, steps, minimum):
    curvature = np.array([1.0, 0.1])
    model = SimpleNamespace(params={"theta": np.zeros(2)}, grads={})
    optimizer = GradientDescent(model, learning_rate=step)
    for _ in range(steps):
        model.grads["theta"] = curvature * (model.params["theta"] - minimum)
        optimizer.step()
    expected = (1 - (1 - step * curvature) ** steps) * minimum
    np.testing.assert_allclose(model.params["theta"], expected, rtol=1e-9, atol=1e-9)


def test_by_hand_ten_steps_against_regularisation():
    # The page's numbers: η = 0.1, t = 10, so λ = 1.
    curvature = np.array([0.01, 1.0, 5.0])
    stopped = 1 - (1 - 0.1 * curvature) ** 10
    np.testing.assert_allclose(stopped, [0.010, 0.651, 0.999], atol=5e-4)
    np.testing.assert_allclose(curvature / (curvature + 1), [0.010, 0.5, 0.833], atol=5e-4)


def test_regularisation_is_near_and_never_further_than_a_fifth():
    u = np.geomspace(1e-4, 1e3, 4000)  # u = ηtκ = κ/λ, in the limit of small steps
    apart = (1 - np.exp(-u)) - u / (1 + u)
    assert (apart >= 0).all()
    assert apart.max() == pytest.approx(0.204, abs=0.001)  # about a fifth
    small = u < 0.01
    assert (apart[small] < u[small] ** 2).all()  # they agree to first order


# What the page measures: a hundred digits, five seeds.


@cache
def run(wrongs, seed):
    rng = np.random.default_rng(seed)
    apart, answers, x, labels = stratified_split(*load_digits(), rng=rng, test_fraction=100 / 1797)
    wrong = rng.choice(len(x), wrongs, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, size=wrongs)) % 10
    network = mlp([64, 64, 10], rng=rng)
    watchers = {patience: EarlyStopping(network, patience=patience) for patience in (1, 5)}
    at_the_stop, right = {}, []

    def stop(history):
        right.append(accuracy(network, apart[300:], answers[300:]))
        for patience, watcher in watchers.items():
            if patience not in at_the_stop and watcher(history):
                at_the_stop[patience] = deepcopy(network)
        return False

    history = train(
        network,
        Momentum(network, learning_rate=0.05),
        x,
        labels,
        epochs=60,
        batch_size=10,
        rng=rng,
        validation=(apart[:300], answers[:300]),
        stop=stop,
    )

    def unused(network):
        logits = network.forward(apart[300:])
        return CrossEntropy().forward(logits, answers[300:]), accuracy(
            network, apart[300:], answers[300:]
        )

    return SimpleNamespace(
        history=history,
        right=right,
        end=unused(network),
        best={patience: unused(watcher.best) for patience, watcher in watchers.items()},
        stop={patience: unused(network) for patience, network in at_the_stop.items()},
        watchers=watchers,
    )


def each(wrongs):
    return [run(wrongs, seed) for seed in range(5)]


def test_the_validation_loss_turns_while_the_training_loss_falls():
    for wrongs, least, most in (0, 1.02, 1.2), (20, 1.1, 2.5):
        for r in each(wrongs):
            losses = [epoch.validation_loss for epoch in r.history]
            best = int(np.argmin(losses))
            assert r.history[-1].loss < r.history[best].loss / 2
            assert least < losses[-1] / losses[best] < most
            assert best + 1 <= 30  # the first half


def test_the_accuracy_falls_only_where_labels_are_wrong():
    def gain(wrongs):
        return np.array([r.best[5][1] - r.end[1] for r in each(wrongs)])

    assert abs(gain(0).mean()) < 0.01  # right labels: nothing to gain, nothing to lose
    assert gain(20).min() > 0  # wrong labels: better in each run
    assert 0.04 < gain(20).mean() < 0.07


def test_pitfall_patience_without_the_best_weights_kept():
    for wrongs, least, most in (0, 1.0, 1.06), (20, 1.1, 1.4):
        unused = []
        for r in each(wrongs):
            watcher = r.watchers[5]
            stopped = r.history[watcher.best_epoch + 5 - 1]
            assert stopped.validation_loss > watcher.best_loss  # what patience means
            unused.append(r.stop[5][0] / r.best[5][0])
        # In the mean true on digits that nobody used, though not in each run of other seeds.
        assert least < np.mean(unused) < most


def test_pitfall_one_bad_epoch_is_noise():
    hasty = np.array([r.best[1] for r in each(0)])
    patient = np.array([r.best[5] for r in each(0)])
    assert {r.watchers[1].best_epoch for r in each(0)} <= set(range(4, 9))
    assert hasty[:, 0].mean() > 1.1 * patient[:, 0].mean()


def test_pitfall_accuracy_is_a_coarse_compass():
    for wrongs, least, most in (0, -0.01, 0.01), (20, 0.0, 0.05):
        gains = []
        for r in each(wrongs):
            shares = [epoch.validation for epoch in r.history]
            losses = [epoch.validation_loss for epoch in r.history]
            assert len(set(shares)) < len(set(losses)) * 2 / 3  # few different values
            gains.append(r.right[int(np.argmax(shares))] - r.right[int(np.argmin(losses))])
        assert least < np.mean(gains) < most  # half true: as accurate on digits nobody used


def test_bad_settings():
    network = Linear(np.zeros((1, 1)))
    for patience in (0, -1):
        with pytest.raises(ValueError, match=f"patience must be at least 1, got {patience}"):
            EarlyStopping(network, patience=patience)
    for bad in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"min_delta must be 0 or above and finite, got"):
            EarlyStopping(network, patience=1, min_delta=bad)


def test_without_a_validation_loss_nothing_is_counted():
    stop = EarlyStopping(Linear(np.zeros((1, 1))), patience=1)
    history = [seen(0.5)]
    assert not stop(history)
    for bad in ([], [seen(None)], [seen(0.4), seen(None)]):
        with pytest.raises(ValueError, match="history must end with a validation loss: give train"):
            stop(bad)
    assert (stop.best_epoch, stop.best_loss) == (1, 0.5)
    assert not stop([*history, seen(0.4)])
    assert stop.best_epoch == 2
