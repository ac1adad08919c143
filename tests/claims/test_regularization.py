import pytest

from lexicon.terminal.bench.claims import regularization

NAMES = ("accuracy", "noise", "control")


def rows(digits, fashion):
    """Return one seed of each: what a term does at one strength; a second one costs all."""

    def found(terms):
        penalized = {
            term: {
                "0.001": dict(zip(NAMES, values, strict=True)) | {"pixels": 0.75, "tiny": 0.95},
                "0.1": dict.fromkeys(("accuracy", "control"), 0.1)
                | dict.fromkeys(("pixels", "noise", "tiny"), 1.0),
            }
            for term, values in zip(regularization.TERMS, terms, strict=True)
        }
        return penalized | {"none": 0.9}

    return [({"data": "digits"}, found(digits)), ({"data": "fashion-mnist"}, found(fashion))]


DOES = (0.895, 0.91, 0.885)
NONE = (0.9, 0.0, 0.9)
FEW = (0.9, 0.89, 0.8)
COSTS = (0.885, 0.95, 0.8)
CHANCE = (0.895, 0.91, 0.895)


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ((DOES, DOES, DOES), (DOES, DOES, DOES), "holds"),
        ((FEW, COSTS, DOES), (FEW, CHANCE, DOES), "holds only for L1 by proximal steps"),
        (
            (DOES, FEW, DOES),
            (DOES, FEW, DOES),
            "holds only for weight decay and L1 by proximal steps",
        ),
        ((FEW, NONE, DOES), (FEW, FEW, CHANCE), "holds only for L1 by proximal steps on digits"),
        (
            (FEW, FEW, DOES),
            (FEW, DOES, FEW),
            "holds only for L1 by subgradient steps on fashion-mnist "
            "and L1 by proximal steps on digits",
        ),
        ((FEW, COSTS, CHANCE), (FEW, COSTS, CHANCE), "does not hold"),
    ],
)
def test_verdicts(digits, fashion, verdict):
    assert regularization.judge(rows(digits, fashion)).verdict == verdict


def test_numbers():
    finding = regularization.judge(rows((NONE, COSTS, DOES), (COSTS, COSTS, COSTS)))
    assert finding.table[:2] == [
        ("digits", "weight decay 0.001", "0.0", "0.0", "75.0", "0.0", "95.0"),
        ("digits", "weight decay 0.1", "80.0", "80.0", "100.0", "100.0", "100.0"),
    ]
    assert finding.result == (
        "Some inputs are pure noise. On digits and on fashion-mnist, this share of their weights "
        "becomes exactly zero at a cost of at most 1 point of accuracy: weight decay 0.0 and 0.0 "
        "%, L1 by subgradient steps 0.0 and 0.0 %, L1 by proximal steps 91.0 and 0.0 %. Zeros "
        "count only where as many at random cost more."
    )


def test_a_cell():
    strengths = {"weight decay": [0.01], "subgradient": [0.004], "proximal": [0.012]}
    cell = regularization.CELLS[0] | {"epochs": 15, "strengths": strengths}
    found = regularization.measure(cell)
    decay, subgradient, proximal = (found[t][f"{s:g}"] for t, (s,) in strengths.items())
    assert found["none"] > 0.9
    for term in (decay, subgradient):
        assert term["pixels"] == term["noise"] == 0
        assert term["control"] == found["none"]
    assert decay["tiny"] < 0.2 < 0.5 < subgradient["tiny"] < 1
    assert 1 > proximal["noise"] > proximal["pixels"] + 0.01 > 0.5
    assert proximal["control"] < proximal["accuracy"]
    assert proximal["accuracy"] > found["none"] - 0.04
