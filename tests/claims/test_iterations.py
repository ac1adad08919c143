import pytest

from lexicon.sparsity.mask import kept
from lexicon.terminal.bench.claims import iterations


def rows(low, high):
    """Return one seed: iterative accuracy and those of one-shot at 90 and at 99 %."""
    result = {
        share: {
            "epochs": epochs,
            **dict(zip(("iterative", *iterations.ONE_SHOT), reads, strict=True)),
        }
        for share, epochs, reads in (("0.9", 62, low), ("0.99", 264, high))
    }
    return [({"data": "digits", "sparsities": [0.9, 0.99], "seed": 0}, result)]


AHEAD = (0.9, 0.889, 0.88, 0.889)
LEVEL = (0.9, 0.88, 0.891, 0.88)  # one of the three is near
OF_EPOCHS = (0.9, 0.889, 0.88, 0.891)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (AHEAD, AHEAD, "holds"),
        (LEVEL, AHEAD, "holds only on digits at 99 % sparsity"),
        (OF_EPOCHS, AHEAD, "holds only on digits at 99 % sparsity"),
        (LEVEL, OF_EPOCHS, "holds only for the same number of epochs, on digits at 99 % sparsity"),
        (
            OF_EPOCHS,
            OF_EPOCHS,
            "holds only for the same number of epochs, on digits at 90 and 99 % sparsity",
        ),
        (LEVEL, LEVEL, "does not hold"),
        (AHEAD[::-1], AHEAD[::-1], "does not hold"),
    ],
)
def test_verdicts(low, high, verdict):
    assert iterations.judge(rows(low, high)).verdict == verdict


def test_two_data_sets_are_named():
    other = [(cell | {"data": "fashion-mnist"}, result) for cell, result in rows(LEVEL, AHEAD)]
    assert iterations.judge(rows(AHEAD, AHEAD) + other).verdict == (
        "holds only on digits at 90 and 99 % sparsity and on fashion-mnist at 99 % sparsity"
    )
    other = [(cell | {"data": "fashion-mnist"}, result) for cell, result in rows(LEVEL, LEVEL)]
    assert iterations.judge(rows(AHEAD, AHEAD) + other).verdict == (
        "holds only on digits at 90 and 99 % sparsity"
    )


def test_leads_are_of_the_best_one_shot():
    second = rows((0.9, 0.8, 0.8, 0.8), (0.84, 0.7, 0.8, 0.9))
    finding = iterations.judge(rows(LEVEL, (0.8, 0.7, 0.6, 0.76)) + second)
    # Means at 99 %: 0.82 against 0.70, 0.70 and 0.83.
    assert finding.result == (
        "After pruning in rounds to 99 % sparsity on digits, accuracy is 12.0 points above that "
        "after one cut and as many epochs of training. If the one cut is followed by more epochs, "
        "until as many FLOPs are spent, it is 1.0 points below."
    )
    assert finding.table == [
        ("digits", "90", "90.0 ± 0.0", "84.0 ± 5.7", "84.5 ± 6.4", "84.0 ± 5.7", "62"),
        ("digits", "99", "82.0 ± 2.8", "70.0 ± 0.0", "70.0 ± 14.1", "83.0 ± 9.9", "264"),
    ]


def test_budgets(monkeypatch):
    calls = []

    def fit(network, data, *, epochs, rng):
        weights = [theta.size for name, theta in network.params.items() if name.endswith("weight")]
        calls.append((epochs, sum(weights)))
        return [len(calls)]

    monkeypatch.setattr(iterations, "fit", fit)
    found = iterations.measure(iterations.CELLS[0] | {"epochs": 10, "sparsities": [0.98]})
    left = [kept(4736, 1 - 0.02 ** (turn / 5)) for turn in range(1, 6)]
    assert calls == [
        (10, 4736),
        *[(2, count) for count in left],
        *[(2, 95)] * 5,
        (10, 95),
        (round(2 * sum(left) / 95), 95),
    ]
    reads = {"epochs": 82, "iterative": 6, "in rounds": 11, "in one go": 12, "for long": 13}
    assert found == {"dense": 1, "0.98": reads}


def test_a_cell():
    cell = iterations.CELLS[0] | {"epochs": 5, "sparsities": [0.98]}
    found = iterations.measure(cell)
    assert found["dense"] > 0.94
    of = found["0.98"]
    # 4,736 weights, of which 0.02 ** 0.2, 0.02 ** 0.4, ... are left: an epoch with each.
    left = [kept(4736, 1 - 0.02 ** (turn / 5)) for turn in range(1, 6)]
    assert of["epochs"] == round(sum(left) / 95) == 41
    assert of["iterative"] > max(of[way] for way in iterations.SAME_EPOCHS) + 0.02
    assert max(of[way] for way in iterations.SAME_EPOCHS) < found["dense"] - 0.1
