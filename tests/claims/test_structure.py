import pytest

from lexicon.terminal.bench.claims import structure

LEADS = ((0.0, 0.02), (0.0, 0.02))
SPEEDS = {1: ((1.0, 0.5), (1.0, 0.2)), 128: ((2.0, 0.5), (1.0, 0.2))}


def rows(leads=LEADS, speeds=SPEEDS):
    """Return leads of single weights on each data set, and seconds of both ways at each batch."""
    removed = [0.5, 0.8]
    return [
        (
            {"data": data, "removed": removed, "seed": 0},
            {"dense": 0.9}
            | {
                f"{share:g}": {"accuracy": {"unstructured": 0.8 + lead, "structured": 0.8}}
                for share, lead in zip(removed, own, strict=True)
            },
        )
        for data, own in zip(("digits", "fashion-mnist"), leads, strict=True)
    ] + [
        (
            {"batch": batch, "sizes": [784, 300, 10], "removed": removed, "seed": 0},
            {"dense": 2.0}
            | {
                f"{share:g} {way}": 2 * ratio
                for share, ratios in zip(removed, own, strict=True)
                for way, ratio in zip(structure.WAYS, ratios, strict=True)
            },
        )
        for batch, own in speeds.items()
    ]


@pytest.mark.parametrize(
    ("leads", "verdict"),
    [
        (LEADS, "holds"),
        (((-0.004, 0.011), (0.011, -0.004)), "holds"),
        (((-0.006, 0.02), (0.0, 0.02)), "does not hold"),  # behind
        (((0.0, 0.009), (0.0, 0.02)), "does not hold"),  # nowhere ahead on the digits
    ],
)
def test_accuracies_decide(leads, verdict):
    assert structure.judge(rows(leads)).verdict == verdict


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (((0.91, 0.89), (1.0, 0.2)), "holds"),
        (
            ((0.91, 0.89), (0.89, 0.2)),
            "holds only down to this share of the neurons: "
            "50 % at batch size 1 and 20 % at batch size 128",
        ),
        (
            ((0.89, 0.5), (1.0, 0.2)),
            "holds only down to this share of the neurons: 20 % at batch size 128",
        ),
        (((1.0, 0.91), (1.0, 0.2)), "does not hold"),  # structured is not faster than dense
        (((1.0, 0.5), (0.1, 0.2)), "does not hold"),  # nor than unstructured
    ],
)
def test_seconds_decide(one, verdict):
    assert structure.judge(rows(speeds=SPEEDS | {1: one})).verdict == verdict


def test_speed_at_every_batch_refutes():
    fast = ((0.8, 0.5), (0.5, 0.2))
    assert structure.judge(rows(speeds={1: fast, 128: fast})).verdict == "does not hold"


def test_the_faster_of_two_sizes_decides():
    more = [(cell | {"sizes": [784, 900, 10]}, found) for cell, found in rows()[2:]]
    more[1] = more[1][0], more[1][1] | {"0.8 unstructured": 1.0}
    assert structure.judge(rows() + more).verdict == (
        "holds only down to this share of the neurons: "
        "20 % at batch size 1 and 50 % at batch size 128"
    )


def test_numbers():
    finding = structure.judge(rows())
    assert finding.table[0] == ("accuracy, %, digits", "", "0", "90.0", "90.0")
    assert finding.table[5] == ("accuracy, %, fashion-mnist", "", "80", "82.0", "80.0")
    assert finding.table[8] == ("seconds, % of dense, width 300", "128", "50", "200.0", "50.0")
    assert finding.result == (
        "With as many weights left, accuracy after removing single weights is between 0.0 and 2.0 "
        "points above that after removing whole neurons. A forward pass takes 100 to 200 % of the "
        "dense network's seconds if single weights are gone, and 20 to 50 % if neurons are."
    )


def test_a_cell_of_accuracies():
    found = structure.measure(structure.CELLS[0] | {"removed": [0.95]})
    assert found["dense"] > 0.95
    own = found["0.95"]
    left = 64 * 3 + 3 * 10  # of 64 neurons, 3 are kept
    assert own["weights"] == {"unstructured": left, "structured": left}
    assert own["forward_flops"] == {"unstructured": 2 * left, "structured": 2 * left}
    assert 0.4 < own["accuracy"]["structured"] < own["accuracy"]["unstructured"] < found["dense"]


def test_a_cell_of_seconds():
    cell = {"batch": 128, "sizes": [784, 800, 10], "removed": [0.95], "rounds": 9, "seed": 0}
    found = structure.measure(cell)
    assert found.keys() == {"dense", "0.95 unstructured", "0.95 structured"}
    assert found["0.95 structured"] < found["dense"]
