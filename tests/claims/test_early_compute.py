from math import inf

import numpy as np
import pytest

from lexicon.terminal.bench.claims import early_compute
from lexicon.terminal.bench.claims.early_compute import FROM_SCRATCH, PRUNED


def line(*points):
    """Return lengths of accuracy and GFLOP, with a tenth as many seconds."""
    return [{"accuracy": a, "GFLOP": cost, "seconds": cost / 10} for a, cost in points]


def rows(found, seeds=2):
    """Return the cells of lines by data, way and sparsity; dense training has one by itself.

    It reaches the goal of 90 % with 10 GFLOP. What is not given never does.
    """
    never = line((0.5, 1.0), (0.8999, 2.0))
    given = []
    for data in ("digits", "fashion-mnist"):
        for way in ("dense", *PRUNED, *FROM_SCRATCH):
            result = {s: found.get((data, way, s), never) for s in ("0.9", "0.98")}
            if way == "dense":
                result = {"0": line((0.8, 5.0), (0.9, 10.0), (0.91, 20.0))}
            cell = {"data": data, "way": way, "sparsities": [float(s) for s in result]}
            # A kept row also says on what machine and when.
            result = result | {"machine": "a processor", "date": "2026-01-01"}
            given += [(cell | {"seed": seed}, result) for seed in range(seeds)]
    return given


def reaches(cost):
    return line((0.8, cost / 2), (0.9, cost))


EVERY = [(data, s) for data in ("digits", "fashion-mnist") for s in ("0.9", "0.98")]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({(d, way, s): reaches(7.5) for d, s in EVERY for way in FROM_SCRATCH}, "holds"),
        ({(d, way, s): reaches(7.51) for d, s in EVERY for way in FROM_SCRATCH}, "does not hold"),
        ({}, "does not hold"),
        (
            {("digits", "RigL", "0.9"): reaches(1.0), ("digits", "SET", "0.9"): reaches(7.4)},
            "holds only on digits at 90 % sparsity (SET and RigL)",
        ),
        (
            {("fashion-mnist", way, "0.98"): reaches(3.0) for way in FROM_SCRATCH}
            | {("digits", "static", "0.9"): reaches(3.0)},
            "holds only on digits at 90 % sparsity (static) and on fashion-mnist at 98 % sparsity",
        ),
        (  # the cheapest of the others is a pruned one of that sparsity
            {("digits", "static", s): reaches(3.0) for s in ("0.9", "0.98")}
            | {("digits", "pruned gradually", "0.9"): reaches(3.9)}
            | {("digits", "pruned at once", "0.98"): reaches(4.1)},
            "holds only on digits at 98 % sparsity (static)",
        ),
    ],
)
def test_verdicts(found, verdict):
    assert early_compute.judge(rows(found)).verdict == verdict


def test_a_cost_is_read_between_two_lengths():
    points = line((0.5, 1.0), (0.8, 2.0), (0.9, 8.0), (0.85, 16.0), (0.95, 32.0))
    for goal, cost in ((0.4, 1.0), (0.5, 1.0), (0.8, 2.0), (0.85, 4.0), (0.9, 8.0), (0.96, inf)):
        assert early_compute._cost(points, "GFLOP", goal) == pytest.approx(cost)
        assert early_compute._cost(points, "seconds", goal) == pytest.approx(cost / 10)


def test_numbers_by_hand():
    found = {
        ("digits", "static", "0.9"): reaches(2.0),
        ("digits", "pruned at once", "0.9"): reaches(4.0),
    }
    given = rows(found)
    given[0] = (given[0][0], {"0": line((0.7, 5.0), (0.8, 10.0), (0.81, 20.0))})
    given[1] = (given[1][0], {"0": line((0.9, 5.0), (1.0, 10.0), (1.01, 20.0))})
    finding = early_compute.judge(given)
    assert finding.table[:5] == [
        ("digits", "0", "dense", "91.0", "10.0", "1.00", ""),
        ("digits", "90", "pruned at once", "90.0", "4.00", "0.400", "100"),
        ("digits", "90", "pruned gradually", "90.0", "never", "never", ""),
        ("digits", "90", "static", "90.0", "2.00", "0.200", "50"),
        ("digits", "90", "SET", "90.0", "never", "never", ""),
    ]
    assert finding.result == (
        "To come within 1 point of dense training's accuracy, the cheapest training from scratch "
        "takes this share of the FLOPs of the cheapest other one, dense or pruned on the way: 50 % "
        "on digits at 90 % sparsity. It lasts 0.2 times as long as dense training. It does not get "
        "there on digits at 98 % sparsity, on fashion-mnist at 90 % sparsity and on fashion-mnist "
        "at 98 % sparsity."
    )
    assert "Nowhere" in early_compute.judge(rows({})).result


def test_cells():
    def measure(way, sparsity, epochs):
        cell = next(c for c in early_compute.CELLS if (c["data"], c["way"]) == ("digits", way))
        cell = cell | {"sparsities": [sparsity], "epochs": [epochs], "sizes": [64, 100, 10]}
        (found,) = early_compute.measure(cell)[f"{sparsity:g}"]
        assert found["seconds"] > 0
        return found

    samples, dense, sparse = 1258, 6 * 7400 / 1e9, 6 * 148 / 1e9
    for way, gflop in (
        ("dense", 4 * samples * dense),
        ("static", 4 * samples * sparse),
        ("SET", 4 * samples * sparse),
        # Two rewirings, each on 64 samples: 2 f_S and f_D.
        ("RigL", 4 * samples * sparse + 2 * 64 * (2 * sparse + dense) / 3),
    ):
        found = measure(way, 0.0 if way == "dense" else 0.98, 4)
        np.testing.assert_allclose(found["GFLOP"], gflop, rtol=1e-9)
    at_once, gradually = (measure(way, 0.98, 8) for way in PRUNED)
    assert 2 * samples * dense < at_once["GFLOP"] < gradually["GFLOP"] < 8 * samples * dense
    assert 0.2 < at_once["accuracy"] < gradually["accuracy"] < 0.95
