import json
import subprocess

import pytest

from lexicon.terminal.tour import Row, what_to_notice


@pytest.fixture(scope="module")
def tour(program):
    command = [program, "tour", "--json"]
    finished = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return json.loads(finished.stdout)


def test_the_tour_tells_the_story_on_real_digits(tour):
    assert [set(row) for row in tour] == [
        {
            "model",
            "sparsity",
            "accuracy",
            "accuracy_std",
            "connections",
            "bytes",
            "flops_per_sample",
            "seconds",
        }
    ] * 8
    dense, mask, p80, p90, p95, k_wta, scratch, rewired = tour
    assert dense["accuracy"] >= 0.97
    assert p90["accuracy"] >= dense["accuracy"] - 0.015
    assert scratch["accuracy"] >= dense["accuracy"] - 0.025
    assert rewired["accuracy"] >= dense["accuracy"] - 0.025
    assert all(0 < row["accuracy_std"] < 0.02 for row in tour)
    assert all(row["seconds"] > 0 for row in tour)
    weights = 64 * 256 + 256 * 256 + 256 * 10
    biases = 256 + 256 + 10
    pointers = 257 + 257 + 11
    for row, kept in zip(tour, [1, 0.1, 0.2, 0.1, 0.05, 1, 0.1, 0.1], strict=True):
        assert row["connections"] == round(kept * weights)
        assert row["sparsity"] == pytest.approx(1 - kept, abs=1e-4)
    for row in (dense, mask, k_wta):
        assert row["bytes"] == 4 * (weights + biases) + (weights if row is mask else 0)
        assert row["flops_per_sample"] == 2 * weights
    for row in (p80, p90, p95, scratch, rewired):
        assert row["bytes"] == 8 * row["connections"] + 4 * (biases + pointers)
        assert row["flops_per_sample"] == 2 * row["connections"]


def test_what_to_notice_is_true_of_the_rows_it_gets(tour):
    rows = [Row(**row) for row in tour]
    first, second, third = what_to_notice(rows)
    for row in (rows[0], rows[3], rows[6], rows[7]):
        assert f"{100 * row.accuracy:.1f} %" in first
    assert rows[1].bytes > rows[0].bytes
    assert rows[1].connections == rows[6].connections
    for row in (rows[0], rows[1], rows[6]):
        assert f"{row.bytes:,}" in second
    assert "10.0 × fewer FLOPs" in third
    faster = [*rows[:6], Row(**{**tour[6], "seconds": tour[0]["seconds"] / 2}), rows[7]]
    slower = [*rows[:6], Row(**{**tour[6], "seconds": tour[0]["seconds"] * 3}), rows[7]]
    assert "2.0 × faster" in what_to_notice(faster)[2]
    assert "3.0 × slower" in what_to_notice(slower)[2]
