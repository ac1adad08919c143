"""The page *Claims*: every verdict follows from rows that are committed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lexicon.terminal.bench.claims import (
    CLAIMS,
    Finding,
    claim,
    kept_rows,
    listed,
    points,
    settle,
    spread,
)

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs" / "measured" / "claims"
NAMES = [name for names in CLAIMS.values() for name in names]


def test_every_claim_has_a_module_a_test_and_rows_and_no_other_has():
    assert len(set(NAMES)) == len(NAMES)
    for folder, pattern in (
        (ROOT / "lexicon" / "terminal" / "bench" / "claims", "{}.py"),
        (ROOT / "tests" / "claims", "test_{}.py"),
        (ROWS, "{}.jsonl"),
    ):
        found = {path.name for path in folder.iterdir() if path.is_file()} - {"__init__.py"}
        assert found == {pattern.format(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_is_a_sentence_an_experiment_and_a_tolerance(name):
    found = claim(name)
    assert found.says.endswith(".")
    assert len(found.says) <= 100
    assert found.run
    assert "holds" in found.tolerance
    assert found.concerns
    cells = [json.dumps(cell, sort_keys=True) for cell in found.cells]
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_follows_from_the_rows(name):
    rows = kept_rows(claim(name), ROWS)
    finding = settle(claim(name), rows)
    assert finding.result.endswith(".")
    assert re.search(r"\d", finding.result)
    for line in finding.table:
        assert len(line) == len(finding.headings)
    widths = [
        max(map(len, [*column, *heading.split()]))
        for heading, *column in zip(finding.headings, *finding.table, strict=True)
    ]
    assert sum(widths) + len(widths) <= 80  # a terminal's line
    for _, result in rows:
        assert re.fullmatch(r".+, \d+ cores, \w+", result["machine"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", result["date"])


def test_readers_see_names_and_signs_as_on_the_pages():
    table = [("fashion-mnist", "-0.1 ± 0.2", "784-300-10")]
    said = "On digits 95 - 99 %, of digits -1.0 on fashion-mnist."
    each = replace(
        claim(NAMES[0]), judge=lambda _: Finding("holds only on digits", said, (), table)
    )
    assert settle(each, []) == Finding(
        "holds only on the digits",
        "On the digits 95 - 99 %, of the digits −1.0 on Fashion-MNIST.",
        (),
        [("Fashion-MNIST", "−0.1 ± 0.2", "784-300-10")],
    )


def test_what_has_not_been_measured_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=rf"lacks {len(claim(NAMES[0]).cells)} of"):
        kept_rows(claim(NAMES[0]), tmp_path)


def test_there_are_three_verdicts():
    for verdict in ("holds", "does not hold", "holds only with further training"):
        assert Finding(verdict, "", (), []).verdict == verdict
    for verdict in ("", "holds mostly", "it holds"):
        with pytest.raises(ValueError, match="verdict must be one of three"):
            Finding(verdict, "", (), [])


def test_means_are_written_with_their_sample_deviation():
    assert spread([0.5, 0.7]) == "60.0 ± 14.1"
    assert spread([0.123]) == "12.3"
    assert spread([1, 2, 3], 2, percent=False) == "2.00 ± 1.00"


def test_lists_and_differences_are_words():
    assert [listed(list(parts)) for parts in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert points(-0.0151) == "1.5 points below"
    assert points(0.01, 0.0) == "1.0 and 0.0 points above"
    assert points(0.01, -0.2) == "1.0 points above and 20.0 points below"
