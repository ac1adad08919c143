import pytest

from lexicon.terminal.bench.claims import pruning


def rows(digits, fashion):
    """Return one seed of each: accuracy at once, trained, and trained after chance."""
    return [
        (
            {"data": data, "sparsities": [0.9], "seed": 0},
            {"dense": 0.9, "0.9": dict(zip(pruning.WAYS, accuracies, strict=True))},
        )
        for data, accuracies in (("digits", digits), ("fashion-mnist", fashion))
    ]


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ((0.895, 0.9, 0.8), (0.895, 0.9, 0.8), "holds"),
        ((0.88, 0.895, 0.8), (0.895, 0.9, 0.8), "holds only with further training"),
        (
            (0.5, 0.8, 0.7),
            (0.5, 0.9, 0.8),
            "holds only on fashion-mnist and with further training",
        ),
        ((0.5, 0.88, 0.7), (0.5, 0.88, 0.7), "does not hold"),
        ((0.895, 0.9, 0.895), (0.895, 0.9, 0.895), "does not hold"),  # nor does chance lose more
    ],
)
def test_verdicts(digits, fashion, verdict):
    finding = pruning.judge(rows(digits, fashion))
    assert finding.verdict == verdict


def test_losses_are_in_points():
    finding = pruning.judge(rows((0.85, 0.88, 0.5), (0.6, 0.9, 0.8)))
    assert finding.table == [
        ("digits", "90", "90.0", "5.0", "2.0", "40.0"),
        ("fashion-mnist", "90", "90.0", "30.0", "0.0", "10.0"),
    ]
    assert finding.result == (
        "On digits and on fashion-mnist, accuracy without 90 % of the weights is 5.0 and 30.0 "
        "points below the dense network's. After further training it is 2.0 points below and 0.0 "
        "points above, or 40.0 and 10.0 points below if the weights were picked at random."
    )


def test_a_cell():
    found = pruning.measure(pruning.CELLS[0] | {"sparsities": [0.95]})
    assert found["dense"] > 0.94
    at_once, trained, chance = found["0.95"].values()
    assert at_once < trained < found["dense"]
    assert chance < trained
