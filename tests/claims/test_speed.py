from math import inf
from time import sleep

import numpy as np
import pytest

from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.terminal.bench.claims import speed
from lexicon.terminal.bench.turns import WARM_UP


def rows(inference, training=None):
    """Return seconds that are equal to the dense one's 1 at a sparsity of each batch."""
    return [
        (
            {"width": 300, "batch": batch, "sparsity": sparsity},
            {
                kind: {"dense": 2.0, "csr": 2 * (1 + own[batch] - sparsity)}
                for kind, own in zip(speed.KINDS, (inference, training or inference), strict=True)
            },
        )
        for batch in inference
        for sparsity in (0.5, 0.8, 0.9, 0.99)
    ]


@pytest.mark.parametrize(
    ("inference", "training", "verdict"),
    [
        ({1: 0.4, 128: 0.8}, {1: 0.6, 128: 0.7}, "holds"),
        (
            {1: 0.4, 128: 0.806},
            {1: 0.6, 128: 0.7},
            "holds only from 60 % sparsity on at batch size 1 "
            "and from 81 % sparsity on at batch size 128",
        ),
        (
            {1: 0.4, 128: 0.7},
            {1: 0.85, 128: 0.995},
            "holds only from 85 % sparsity on at batch size 1",
        ),
        ({1: 0.995, 128: 1}, {1: 0.4, 128: 0.4}, "does not hold"),
    ],
)
def test_verdicts(inference, training, verdict):
    assert speed.judge(rows(inference, training)).verdict == verdict


def test_the_worst_width_decides():
    wide = [(cell | {"width": 1000}, found) for cell, found in rows({1: 0.92})]
    finding = speed.judge(rows({1: 0.6}) + wide)
    assert finding.verdict == "holds only from 92 % sparsity on at batch size 1"
    assert finding.result == (
        "Of 2 combinations of layer width and batch size, sparse inference is faster than dense in "
        "2 (from 60 to 92 % sparsity on), and training in 2 (from 60 to 92 % sparsity on). At 90 % "
        "sparsity inference and training take 70 to 102 % and 70 to 102 % of the dense seconds."
    )


def test_crossings_and_ratios():
    finding = speed.judge(rows({8: 0.4, 1: 0.85}, {8: 0.951, 1: 0.995}))
    assert finding.table == [
        ("1", "300", "85", "never", "0.95", "1.10"),
        ("8", "300", "50", "96", "0.50", "1.05"),
    ]
    assert "training in 1 (from 96 to 96 % sparsity on)." in finding.result
    assert "training in 0." in speed.judge(rows({1: 0.6}, {1: 0.995})).result


def test_the_last_crossing_counts():
    assert speed._crossing({0.5: 0.9, 0.8: 1.1, 0.9: 0.9}) == pytest.approx(0.85)
    assert speed._crossing({0.5: 0.9, 0.8: 0.5}) == 0.5
    assert speed._crossing({0.5: 0.9, 0.8: 1.0}) == inf


class Counted:
    """A layer that takes its time, and counts."""

    params, grads = {}, {}

    def __init__(self, seconds):
        self.seconds, self.calls = seconds, 0

    def forward(self, x):
        self.calls += 1
        sleep(self.seconds)
        return x


def test_forward_passes_take_turns():
    layers = {"slow": Counted(0.02), "fast": Counted(0.0)}
    networks = {name: Sequential([layer]) for name, layer in layers.items()}
    seconds = speed.forward_seconds(networks, np.ones((1, 1)), rounds=5)
    assert seconds["slow"] >= 0.02 > seconds["fast"]
    assert [layer.calls for layer in layers.values()] == 2 * [2 * (WARM_UP + 5)]


def test_contestants_differ_in_connections_only():
    dense, csr = speed.contestants(50, 0.9).values()
    assert network_cost(csr).connections == pytest.approx(
        0.1 * network_cost(dense).connections, rel=0.01
    )
    speed.forward_seconds({"csr": csr}, np.ones((1, 784), np.float32), rounds=1)
    assert [layer.threads for layer in csr.layers[::2]] == [1, 1, 1, 1]


def test_a_cell(monkeypatch):
    timed = speed.measure_steps

    def steps(*args, **kwargs):
        return [
            row | {"median_s": f"{row['contestant']} {row['phase']}"}
            for row in timed(*args, **kwargs)
        ]

    monkeypatch.setattr(speed, "measure_steps", steps)
    found = speed.measure(speed.CELLS[0] | {"width": 600, "sparsity": 0.99, "rounds": 3})
    assert found["training"] == {"dense": "dense step", "csr": "csr step"}
    assert found["inference"].keys() == {"dense", "csr"}
    assert min(found["inference"].values()) > 0
