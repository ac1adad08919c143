import pytest

from lexicon.terminal.bench.claims import winners


def share(accuracy, flops, dense, skipping):
    """Return what is measured of one network; a dense ReLU takes 2 s."""
    return {
        "accuracy": accuracy,
        "narrow": 0.85,
        "flops": flops,
        "network_flops": 1000.0,
        "never": 0.25,
        "dense_s": 2 * dense,
        "skipping_s": 2 * skipping,
    }


def rows(digits, fashion):
    """Return one seed of each data set, with two shares of winners."""
    return [
        (
            {"data": data, "winners": [0.1, 0.2], "seed": 0},
            {"relu": share(0.9, 0.45, 1, 5), "0.1": share(*few), "0.2": share(*more)},
        )
        for data, (few, more) in (("digits", digits), ("fashion-mnist", fashion))
    ]


FREE = (0.895, 0.1, 0.49, 0.3)
SKIPPED = (0.895, 0.1, 0.51, 0.49)
COUNTED = (0.895, 0.1, 1.0, 0.51)
LOST = (0.885, 0.1, 0.4, 0.1)
MANY = (0.9, 0.51, 1.0, 2.0)
SKIPS = "where the next layer skips the zeros"


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ((FREE, MANY), (FREE, MANY), "holds"),
        ((SKIPPED, MANY), (SKIPPED, MANY), f"holds only {SKIPS}"),
        ((COUNTED, MANY), (COUNTED, MANY), f"holds only in FLOPs, {SKIPS}"),
        ((LOST, COUNTED), (COUNTED, FREE), f"holds only in FLOPs, {SKIPS}"),
        ((LOST, LOST), (SKIPPED, LOST), f"holds only on fashion-mnist {SKIPS}"),
        ((FREE, LOST), (LOST, LOST), "holds only on digits"),
        (
            (SKIPPED, LOST),
            (COUNTED, LOST),
            f"holds only on digits {SKIPS} and on fashion-mnist in FLOPs, {SKIPS}",
        ),
        ((LOST, LOST), (LOST, LOST), "does not hold"),
        ((LOST, MANY), (MANY, FREE), "does not hold"),  # intact, but nothing drops there
    ],
)
def test_verdicts(digits, fashion, verdict):
    assert winners.judge(rows(digits, fashion)).verdict == verdict


def test_numbers():
    finding = winners.judge(rows((LOST, COUNTED), (LOST, LOST)))
    assert finding.table[:3] == [
        ("digits", "ReLU", "0.0", "5.0", "25", "45", "100", "500"),
        ("digits", "10 %", "1.5", "5.0", "25", "10", "40", "10"),
        ("digits", "20 %", "0.5", "5.0", "25", "10", "100", "51"),
    ]
    assert finding.result == (
        "If only the strongest hidden neurons speak, 20 % on digits and 20 % on fashion-mnist, "
        "accuracy is 0.5 and 1.5 points below that with ReLU. The next layer takes 10 and 10 % of "
        "a dense one's FLOPs if it skips the zeros. With the choice of neurons that is 51 and "
        "10 % of the seconds, and without skipping 100 and 40 %."
    )
    settled = winners.judge(rows((FREE, SKIPPED), (FREE, SKIPPED))).result
    assert settled.count("10 % on digits") == 1
    assert "20 % on digits" not in settled


def test_a_cell():
    cell = winners.CELLS[0] | {"sizes": [64, 20, 20, 10], "winners": [0.1, 1.0], "epochs": 6}
    found = winners.measure(cell)
    assert found["0.1"]["flops"] == pytest.approx(0.1)
    assert found["0.1"]["network_flops"] == pytest.approx(2 * (64 * 20 + 2 * 20 + 2 * 10))
    assert found["1"]["flops"] == pytest.approx(1)
    assert 0.2 < found["relu"]["flops"] < 0.8
    assert found["0.1"]["accuracy"] < found["relu"]["accuracy"] - 0.02  # two neurons say little
    assert found["relu"]["accuracy"] > 0.85
    assert found["0.1"]["narrow"] > found["0.1"]["accuracy"]
    assert found["0.1"]["never"] > found["1"]["never"] == 0
    assert all(0 < one[way] < 1 for one in found.values() for way in ("dense_s", "skipping_s"))
