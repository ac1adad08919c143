import numpy as np
import pytest

from lexicon.data import load_digits, stratified_split
from lexicon.terminal.bench.claims import set_fashion


def rows(dense, fixed, evolved):
    """Return one run of each contestant: its last accuracy, with a better epoch before."""
    return [
        ({"contestant": name, "seed": 0}, {"accuracy": [last + 0.01, last], "weights": 1234})
        for name, last in zip(set_fashion.PUBLISHED, (dense, fixed, evolved), strict=True)
    ]


@pytest.mark.parametrize(
    ("lasts", "verdict"),
    [
        ((0.820, 0.806, 0.826), "holds"),
        ((0.8349, 0.8209, 0.8409), "holds"),  # all within 1.5 points
        ((0.8051, 0.7911, 0.8111), "holds"),
        ((0.830, 0.806, 0.8251), "holds"),  # half a point below dense
        ((0.820, 0.806, 0.842), "holds only for the order"),
        ((0.804, 0.790, 0.810), "holds only for the order"),
        ((0.831, 0.806, 0.825), "holds only for the accuracies"),
        ((0.815, 0.8155, 0.816), "holds only for the accuracies"),  # fixed above dense
        ((0.840, 0.806, 0.826), "does not hold"),
    ],
)
def test_verdicts(lasts, verdict):
    assert set_fashion.judge(rows(*lasts)).verdict == verdict


def test_the_last_and_the_best_epoch_stand_beside_what_was_published():
    better = [
        (cell | {"seed": 1}, result | {"accuracy": [a + 0.02 for a in result["accuracy"]]})
        for cell, result in rows(0.81, 0.80, 0.82)
    ]
    finding = set_fashion.judge(rows(0.81, 0.80, 0.82) + better)
    assert finding.table[0] == ("dense", "1,234", "82.0 ± 1.4", "82.0", "83.0 ± 1.4", "84.0")
    assert finding.table[2] == ("SET", "1,234", "83.0 ± 1.4", "82.6", "84.0 ± 1.4", "83.7")
    assert "fixed sparse 81.0 % (published 80.6)" in finding.result


@pytest.fixture
def digits(monkeypatch):
    data = stratified_split(*load_digits(), rng=np.random.default_rng(0))
    monkeypatch.setattr(set_fashion, "load_fashion_mnist", lambda: data)


@pytest.mark.usefixtures("digits")
def test_cells():
    small = {"sizes": [64, 100, 80, 60, 10], "samples": [600, 300], "epochs": 25}
    small["learning_rate"] = 0.1
    dense, fixed, evolved = (set_fashion.measure(cell | small) for cell in set_fashion.CELLS[:3])
    assert dense["accuracy"][-1] > 0.88
    assert dense["weights"] == 64 * 100 + 100 * 80 + 80 * 60 + 60 * 10
    # ε = 13 draws with replacement leave so many distinct ones on average.
    shapes = ((64, 100), (100, 80), (80, 60), (60, 10))
    distinct = (a * b * (1 - (1 - 1 / (a * b)) ** (13 * (a + b))) for a, b in shapes)
    assert fixed["weights"] == evolved["weights"] == pytest.approx(sum(distinct), abs=4)
    # The same start, and rewiring only after an accuracy is read.
    assert fixed["accuracy"][0] == evolved["accuracy"][0]
    assert 0.5 < fixed["accuracy"][-1] < evolved["accuracy"][-1] - 0.1


@pytest.mark.usefixtures("digits")
def test_the_samples_are_those_of_the_program():
    x, labels, x_test, labels_test = set_fashion.load_fashion_mnist()
    np.random.seed(0)  # noqa: NPY002  as the program draws
    order, test_order = np.arange(len(x)), np.arange(len(x_test))
    np.random.shuffle(order)  # noqa: NPY002
    np.random.shuffle(test_order)  # noqa: NPY002
    got = set_fashion._same_samples(50, 20)
    wanted = (
        x[order[:50]],
        labels[order[:50]],
        x_test[test_order[:20]],
        labels_test[test_order[:20]],
    )
    for found, expected in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_dropout():
    layer = set_fashion.Dropout(np.random.default_rng(0))
    x = np.ones((200, 100), np.float32)
    y = layer.forward(x)
    assert set(np.unique(y)) == {0, 1}
    assert y.mean() == pytest.approx(0.8, abs=0.02)
    assert layer.backward(x) is x
    layer.training = False
    np.testing.assert_array_equal(layer.forward(x), np.float32(0.8) * x)
