import pytest

from lexicon.terminal.bench.claims import masked_updates


def rows(*, moving, share=1e-6):
    """Return a seed of each data set; `moving` holds pairs of an optimiser and what is undone."""

    def found(name, undone):
        moved = share if (name, undone) in moving else 0.0
        return {"moved": moved, "distance": 0.125, "stored": 0.9, "masked": 0.7}

    still = {
        name: {undone: found(name, undone) for undone in masked_updates.UNDONE}
        for name in masked_updates.OPTIMISERS
    }
    return [({"data": data, "seed": 0}, still) for data in ("digits", "fashion-mnist")]


@pytest.mark.parametrize(
    ("moving", "verdict"),
    [
        ([], "holds"),
        ([("plain", "gradient")], "holds only if the gradient is masked"),
        (
            [("both", "gradient"), ("momentum", "velocity")],
            "holds only if the gradient is masked and its momentum is cleared",
        ),
        (
            [("plain", "gradient"), ("decay", "weight"), ("both", "velocity")],
            "holds only if the gradient is masked, the weight is set to zero "
            "and its momentum is cleared",
        ),
        ([("plain", "gradient"), ("decay", "nothing")], "does not hold"),
    ],
)
def test_verdicts(moving, verdict):
    assert masked_updates.judge(rows(moving=moving)).verdict == verdict


def test_numbers():
    moving = [("both", "gradient"), ("both", "velocity"), ("decay", "velocity")]
    finding = masked_updates.judge(rows(moving=moving, share=0.25))
    assert finding.table[:4] == [
        ("digits", "gradient", "0", "0", "0", "25", "12.50", "20.0"),
        ("digits", "weight", "0", "0", "0", "0", "12.50", "20.0"),
        ("digits", "velocity", "0", "25", "0", "25", "12.50", "20.0"),
        ("digits", "nothing", "0", "0", "0", "0", "12.50", "20.0"),
    ]
    assert finding.result == (
        "Of the weights that a mask takes out of the network, further training changes up to 25 % "
        "if their gradient is not masked, 0 % if they are not set to zero before, 25 % if the "
        "optimiser keeps their momentum, and 0 % if all three are seen to."
    )
    seldom = masked_updates.judge(rows(moving=[("plain", "gradient")]))
    assert "changes up to 0.0001 % if their gradient is not masked" in seldom.result


def test_a_cell():
    cell = masked_updates.CELLS[0] | {"samples": 300, "epochs": 4, "further": 1}
    found = masked_updates.measure(cell)
    moved = {
        name: {undone for undone, run in runs.items() if run["moved"]}
        for name, runs in found.items()
    }
    assert moved == {
        "plain": {"gradient"},
        "decay": {"gradient", "weight"},
        "momentum": {"gradient", "velocity"},
        "both": {"gradient", "weight", "velocity"},
    }
    for runs in found.values():
        for undone, run in runs.items():
            assert (run["distance"] > 0) == (run["moved"] > 0)
            if undone == "nothing":
                assert run["stored"] == run["masked"] > 0.4
    # Decay takes a small share of a weight; what data and momentum do is far more.
    weight, velocity = (found["both"][undone]["distance"] for undone in ("weight", "velocity"))
    assert weight < velocity / 10
