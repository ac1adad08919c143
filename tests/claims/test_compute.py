import pytest

from lexicon.terminal.bench.claims import compute


def rows(factors, sparsities=(0.8, 0.99)):
    """Return costs that are so many times what the claim says, in the order of COSTS."""
    return [
        (
            {"sparsity": sparsity, "width": 1000},
            {
                cost: factor * (1 - sparsity)
                for cost, factor in zip(compute.COSTS, factors, strict=True)
            }
            | {"masked_step_seconds": 1.25},
        )
        for sparsity in sparsities
    ]


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ((1, 1.09, 1.09, 1.09, 1.09), "holds"),
        ((1, 1.11, 1.11, 1.11, 1.11), "holds only for FLOPs of a forward pass"),
        (
            (1, 1.11, 1.09, 5, 5),
            "holds only for FLOPs of a forward pass and bytes",
        ),
        ((1.11, 1.11, 2, 5, 5), "does not hold"),
    ],
)
def test_verdicts(factors, verdict):
    assert compute.judge(rows(factors)).verdict == verdict


def test_one_sparsity_too_dear_is_enough():
    found = rows((1, 1, 1, 1, 1))
    found[1][1]["step_seconds"] = 0.0111  # of 0.01
    assert compute.judge(found).verdict.endswith("bytes and seconds of a forward pass")


def test_shares_are_in_per_cent():
    finding = compute.judge(rows((1, 2, 2.5, 3, 4)))
    assert finding.table == [
        ("1000", "80", "20.0", "40.0", "50.0", "60.0", "80.0", "125.0"),
        ("1000", "99", "1.0", "2.0", "2.5", "3.0", "4.0", "125.0"),
    ]
    assert finding.result == (
        "At 80 % sparsity the claim leaves 20 % of every cost. Measured are up to 20 % of the "
        "FLOPs of a forward pass, 40 % of the FLOPs of a training step, 50 % of the bytes, 60 % of "
        "the seconds of a forward pass and 80 % of the seconds of a training step. FLOPs are "
        "multiplications and additions."
    )


def test_a_cell(monkeypatch):
    times_as_fast = {"dense": 1, "masked": 0.5, "csr": 4, "csr, equal rows": 8}
    timed = compute.measure_steps

    def steps(*args, **kwargs):
        return [
            row | {"speedup_vs_dense": times_as_fast[row["contestant"]] / len(row["phase"])}
            for row in timed(*args, **kwargs)
        ]

    monkeypatch.setattr(compute, "measure_steps", steps)
    for sparsity, step in ((0.8, (2 * 0.2 + 1) / 3), (0.95, 0.05)):  # blocked, gathered
        cell = compute.CELLS[0] | {"sparsity": sparsity, "width": 60, "batch": 4, "rounds": 1}
        found = compute.measure(cell)
        assert found["forward_flops"] == pytest.approx(1 - sparsity, rel=1e-3)
        assert found["step_flops"] == pytest.approx(step, rel=1e-3)
        assert 2 * (1 - sparsity) < found["bytes"] < 2 * (1 - sparsity) + 0.02  # indices
        assert found["forward_seconds"] == len("forward") / 4
        assert found["step_seconds"] == len("step") / 4
        assert found["masked_step_seconds"] == len("step") / 0.5
