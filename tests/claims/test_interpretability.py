import numpy as np
import pytest

from lexicon.terminal.bench.claims import interpretability
from lexicon.terminal.bench.claims.interpretability import WAYS


def rows(*settings):
    """Return one seed of each: told apart and the deletion's difference of some rankings."""
    return [
        (
            {"data": data, "decay": decay, "seed": 0},
            {"accuracy": 0.9, "machine": "any"}
            | {
                way: {"apart": apart, "least": 0.5 + deletion, "most": 0.5}
                for way, (apart, deletion) in (dict.fromkeys(WAYS, (0.5, 0.0)) | reads).items()
            },
        )
        for data, decay, reads in settings
    ]


def of(pruned, rewired, gradient=(0.9, 0.3), times=(0.92, 0.2), **more):
    return {
        "pruned": pruned,
        "SET": rewired,
        "gradient": gradient,
        "gradient × deviation": times,
        **more,
    }


GOOD, FAR, WEAK, MIXED = (0.901, 0.281), (0.899, 0.4), (0.95, 0.279), (0.91, 0.29)


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ([("digits", 0.1, of(GOOD, MIXED)), ("fashion-mnist", 0.2, of(MIXED, GOOD))], "holds"),
        ([("digits", 0.1, of(FAR, WEAK))], "does not hold"),
        (  # of the dense readings the better counts, for each of the two numbers
            [("digits", 0.1, of(GOOD, GOOD, times=(0.93, 0.3)))],
            "does not hold",
        ),
        (
            [("digits", 0.1, of(GOOD, WEAK)), ("fashion-mnist", 0.2, of(GOOD, WEAK))],
            "holds only for pruned networks on digits at weight decay 0.1 "
            "and on fashion-mnist at weight decay 0.2",
        ),
        (
            [("digits", 0.1, of(GOOD, FAR)), ("digits", 0.2, of(WEAK, GOOD))],
            "holds only for pruned networks on digits at weight decay 0.1, "
            "and for SET networks on digits at weight decay 0.2",
        ),
        ([("digits", 0.1, of(GOOD, GOOD, static=GOOD))], "does not hold"),
        ([("digits", 0.1, of(GOOD, GOOD, chance=GOOD))], "does not hold"),
        ([("digits", 0.1, of(GOOD, GOOD, static=FAR, chance=WEAK))], "holds"),
    ],
)
def test_verdicts(settings, verdict):
    assert interpretability.judge(rows(*settings)).verdict == verdict


def test_numbers():
    settings = ("digits", 0.1, of(GOOD, FAR)), ("fashion-mnist", 0.005, of((1.0, 0.5), WEAK))
    finding = interpretability.judge(rows(*settings))
    assert finding.table[0] == ("digits", "0.1", "pruned", "90.1", "28.1")
    assert finding.table[9] == ("fashion-mnist", "0.005", "SET", "95.0", "27.9")
    assert finding.result == (
        "Ranked by how many connections they have, inputs that can matter come before meaningless "
        "ones in 90.1 to 100.0 % of all pairs in pruned networks and in 89.9 to 95.0 % in networks "
        "trained sparse (SET). By a dense network's gradients it is 92.0 to 92.0 %, by chance 50 %."
    )


def test_told_apart():
    cannot = np.array([False, True, False, True])
    told_apart = interpretability._told_apart
    assert told_apart(np.array([3, 1, 4, 2]), cannot) == 1
    assert told_apart(np.array([1, 3, 2, 4]), cannot) == 0
    assert told_apart(np.array([0, 0, 0, 0]), cannot) == 0.5
    assert told_apart(np.array([1, 0, 3, 2]), cannot) == 0.75  # 1 > 0, 3 > 0, 3 > 2


def test_a_cell():
    cell = interpretability.CELLS[0] | {"epochs": 8, "decay": 0.01, "seed": 7}
    found = interpretability.measure(cell)
    assert found["accuracy"] > 0.85
    apart = {way: found[way]["apart"] for way in WAYS}
    deletion = {way: found[way]["least"] - found[way]["most"] for way in WAYS}
    assert apart["pruned"] > apart["SET"] > apart["static"]
    assert deletion["pruned"] > 0.3
    assert deletion["gradient × deviation"] > 0.3
    for way in ("static", "chance"):
        assert abs(apart[way] - 0.5) < 0.12
        assert abs(deletion[way]) < 0.25
