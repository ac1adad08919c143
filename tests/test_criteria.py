"""The page *Criteria compared*: every sentence on it holds for the rows beside it."""

import json
import re
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean, stdev

import pytest

from lexicon.terminal.bench.criteria import (
    CRITERIA,
    RATES,
    SETTINGS,
    criteria_cells,
    summarise,
)

DOCS = Path(__file__).parent.parent / "docs"
DATA = ("digits", "fashion-mnist")
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
READS = ("at_once", "trained")
ROWS = json.loads((DOCS / "measured" / "criteria.json").read_text(encoding="utf-8"))
LINES = (DOCS / "measured" / "criteria.jsonl").read_text(encoding="utf-8").splitlines()
CELLS = [line["cell"] | line["result"] for line in map(json.loads, LINES)]
PAGE = (DOCS / "criteria.md").read_text(encoding="utf-8")


def reads(criterion, data, sparsity, *, start="trained", masks="layer", read="trained"):
    """Return accuracies in points, in the order of the seeds."""
    found = {
        cell["seed"]: 100 * pruned["accuracy"][read == "trained"]
        for cell in CELLS
        for pruned in cell["pruned"]
        if (cell["data"], cell["start"], cell["criterion"]) == (data, start, criterion)
        and (cell["masks"], pruned["sparsity"]) == (masks, sparsity)
    }
    return [found[seed] for seed in sorted(found)]


def lead(one, other, *where, **which):
    return fmean(reads(one, *where, **which)) - fmean(reads(other, *where, **which))


def ahead(one, other, *where, **which):
    return above(reads(one, *where, **which), reads(other, *where, **which))


def above(first, second):
    """Say what the page calls ahead."""
    assert len(first) == len(second) == 5
    return all(a > b for a, b in zip(first, second, strict=True)) and fmean(first) - fmean(
        second
    ) > max(stdev(first), stdev(second))


def everywhere(*sparsities):
    return product(DATA, sparsities or SPARSITIES)


def test_rows_are_those_of_the_trainings_beside_them():
    assert sorted(map(str, (cell_of(cell) for cell in CELLS))) == sorted(
        map(str, criteria_cells(DATA, sparsities=SPARSITIES, seeds=5))
    )
    found = {key(row): row for row in summarise(CELLS)}
    assert found.keys() == {key(row) for row in ROWS}
    assert len(found) == len(ROWS)
    for row in ROWS:
        for number in ("at_once", "at_once_std", "trained", "trained_std"):
            assert row[number] == pytest.approx(found[key(row)][number], abs=1e-12)
        assert row["seeds"] == 5


def key(row):
    return tuple(row[name] for name in ("data", "start", "masks", "criterion", "sparsity"))


def cell_of(cell):
    described = criteria_cells(DATA, sparsities=SPARSITIES, seeds=1)[0]
    return {name: cell[name] for name in described}


def test_what_was_run_is_what_the_page_says():
    assert re.findall(r"^\| \[(\w+)\]", PAGE, flags=re.MULTILINE) == list(CRITERIA)
    for data, sizes, samples, epochs, further in (
        ("digits", [64, 64, 10], None, 20, 5),
        ("fashion-mnist", [784, 300, 100, 10], 5000, 10, 3),
    ):
        settings = SETTINGS[data]
        assert (settings["sizes"], settings["samples"]) == (sizes, samples)
        assert (settings["epochs"], settings["further"]) == (epochs, further)
    assert {cell["scored"] for cell in CELLS} == {1000}
    trained = [cell for cell in CELLS if cell["start"] == "trained"]
    assert len({cell["rate"] for cell in trained}) == 1
    for cell in trained:
        if cell["masks"] == "layer" and cell["criterion"] != "dense":
            counts = [pruned["connections"] for pruned in cell["pruned"]]
            sizes = cell["sizes"]
            assert counts == [
                [a * b - round(s * a * b) for a, b in pairwise(sizes)] for s in SPARSITIES
            ]


def test_at_once():
    for where in everywhere():
        assert not any(ahead(one, "SynFlow", *where, read="at_once") for one in CRITERIA)
    for sparsity in (0.8, 0.9, 0.95):
        assert ahead("SynFlow", "magnitude", "fashion-mnist", sparsity, read="at_once")
    movement = [fmean(reads("movement", "fashion-mnist", 0.8, read=r)) for r in READS]
    assert [round(read) for read in movement] == [24, 83]


def test_trained_on():
    others = set(CRITERIA) - {"magnitude"}
    found = {
        (one, *where) for where in everywhere() for one in others if ahead(one, "magnitude", *where)
    }
    assert found == {("movement", "digits", 0.9)}
    assert 0 < lead("movement", "magnitude", "digits", 0.9) < 0.5
    behind = {
        one: {where for where in everywhere() if ahead("magnitude", one, *where)} for one in others
    }
    assert behind["SynFlow"] == behind["OBS"] == set()
    assert behind["Wanda"] == set(product(["fashion-mnist"], [0.8, 0.9, 0.95]))
    assert set(everywhere(0.95, 0.98)) <= behind["Taylor"] & behind["SNIP"]
    assert ahead("random", "Taylor", "fashion-mnist", 0.95)
    for where, one in product(everywhere(0.8, 0.9, 0.95), ("GraSP", "activation")):
        assert ahead("random", one, *where)
    dense = [fmean(reads("dense", "fashion-mnist", 0.0, read=read)) for read in READS]
    assert 2 < dense[0] - dense[1] < 3


def test_own_masks():
    def gain(one, *where):
        """Return by how much, and whether the seeds tell: 1 for ahead, -1 for behind."""
        own, layer = reads(one, *where, masks="own"), reads(one, *where)
        return fmean(own) - fmean(layer), above(own, layer) - above(layer, own)

    for where in everywhere(0.98):
        best = max(lead(one, "magnitude", *where) for one in CRITERIA)
        by, told = gain("magnitude", *where)
        assert told == 1
        assert by > max(5, best)
        for one in ("Taylor", "SNIP"):
            by, told = gain(one, *where)
            assert told == 1
            assert by > 10
    for data, sparsity in everywhere():
        _, told = gain("Wanda", data, sparsity)
        assert told == (-1 if data == "digits" and sparsity > 0.8 else 0)
        for masks in ("layer", "own"):
            assert not ahead("SynFlow", "magnitude", data, sparsity, masks=masks)
            assert not ahead("magnitude", "SynFlow", data, sparsity, masks=masks)


def test_before_training():
    start = {"start": "untrained"}
    row = {
        (r["data"], r["masks"], r["criterion"]): r
        for r in ROWS
        if r["start"] == "untrained" and r["sparsity"] in (0.0, 0.95)
    }
    written = {
        line.split(" | ")[0].strip("| "): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in PAGE.partition("## Before training")[2].splitlines()
        if line.startswith("| ") and "±" in line
    }
    assert written == {
        one: [
            f"{100 * found['trained']:.1f} ± {100 * found['trained_std']:.1f}" if found else ""
            for found in (row.get((*where, one)) for where in product(DATA, ("layer", "own")))
        ]
        for one in ("random", "magnitude", "SynFlow", "SNIP", "GraSP")
    }
    dense = [f"{100 * row[data, 'layer', 'dense']['trained']:.1f}" for data in DATA]
    assert "of {} and {} % without pruning".format(*dense) in " ".join(PAGE.split())
    rates = {cell["criterion"]: cell["rate"] for cell in CELLS if cell["start"] == "untrained"}
    assert rates == RATES
    for where in everywhere():
        first = ahead("SNIP", "random", *where, **start)
        assert first is (where[0] == "digits" and where[1] != 0.9)
        assert not ahead("GraSP", "random", *where, **start)
    for sparsity in SPARSITIES:
        where = ("fashion-mnist", sparsity)
        assert lead("GraSP", "random", *where, **start) < -30
        assert ahead("random", "GraSP", *where, **start)
        for masks in ("layer", "own"):
            assert not ahead("SynFlow", "magnitude", *where, masks=masks, **start)
            assert not ahead("magnitude", "SynFlow", *where, masks=masks, **start)
    for one in ("SynFlow", "magnitude"):
        for own, even in zip(connections(one, "own"), connections(one, "layer"), strict=True):
            assert own[1] > even[1]
            assert own[2] > even[2]
    for data in DATA:
        synflow = reads("SynFlow", data, 0.98, masks="own", **start)
        chance = reads("random", data, 0.98, **start)
        assert above(synflow, chance)
        assert fmean(synflow) - fmean(chance) > 20
        trained = reads("magnitude", data, 0.98, masks="own")
        assert not above(synflow, trained)
        assert not above(trained, synflow)


def connections(criterion, masks):
    """Return the counts of each layer at each sparsity, of the first seed's Fashion-MNIST."""
    return next(
        [pruned["connections"] for pruned in cell["pruned"]]
        for cell in CELLS
        if (cell["data"], cell["start"], cell["seed"]) == ("fashion-mnist", "untrained", 0)
        and (cell["criterion"], cell["masks"]) == (criterion, masks)
    )
