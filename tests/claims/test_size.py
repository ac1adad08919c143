import pytest

from lexicon.terminal.bench.claims import size


def rows(memory, disk, sparsities=(0.5, 0.8, 0.9)):
    """Return shares of CSR at each sparsity; a bit mask takes half, gaps fall from 1 to 0.1."""
    return [
        (
            {"data": data, "sparsities": list(sparsities), "seed": 0},
            {
                f"{sparsity:g}": {
                    "dense": {"memory": 1.0, "disk": 0.9},
                    "CSR": {"memory": of_memory, "disk": of_disk},
                    "bit mask": {"memory": 0.5, "disk": 0.5},
                    "gaps": {"memory": 1.0 if sparsity < 0.9 else 0.1, "disk": 0.6},
                }
                for sparsity, of_memory, of_disk in zip(sparsities, memory, disk, strict=True)
            },
        )
        for data in ("digits", "fashion-mnist")
    ]


@pytest.mark.parametrize(
    ("memory", "disk", "verdict"),
    [
        ((0.94, 0.5, 0.2), (0.94, 0.5, 0.2), "holds"),
        (
            (0.96, 0.94, 0.2),
            (0.94, 0.5, 0.2),
            "holds only in memory from 80 % sparsity on and on disk from 50 % sparsity on",
        ),
        ((0.94, 0.96, 0.2), (1, 1, 0.96), "holds only in memory from 90 % sparsity on"),
        ((0.94, 0.94, 0.96), (0.94, 0.94, 0.96), "does not hold"),
    ],
)
def test_verdicts(memory, disk, verdict):
    assert size.judge(rows(memory, disk)).verdict == verdict


def test_both_data_sets_have_to_be_smaller():
    found = rows((0.94, 0.5, 0.2), (0.94, 0.5, 0.2))
    found[0][1]["0.5"]["CSR"]["disk"] = 0.96
    assert size.judge(found).verdict.endswith("and on disk from 80 % sparsity on")


def test_shares_are_in_per_cent():
    finding = size.judge(rows((1.0, 0.4, 0.2), (0.9, 0.4, 0.3)))
    assert finding.table[2] == (
        *("digits", "90", "100.0 / 90.0"),
        *("20.0 / 30.0", "50.0 / 50.0", "10.0 / 60.0"),
    )
    assert finding.result == (
        "A sparse network also has to store where its weights are (as CSR). At 50 % sparsity it "
        "takes up to 100 % of the dense network's bytes in memory and 90 % on disk, at 90 % "
        "sparsity up to 20 % and 30 %. Both files are zipped."
    )


def test_a_cell():
    found = size.measure(size.CELLS[0] | {"epochs": 1, "sparsities": [0.5, 0.9]})
    weights, biases = 64 * 64 + 64 * 10, 64 + 10
    whole = 4 * (weights + biases)
    assert found["dense"]["memory"] == whole
    assert 0.9 * whole < found["dense"]["disk"] < 1.1 * whole
    for name, left in (("0.5", 2368), ("0.9", weights - 4262)):
        own = {form: shares["memory"] * whole - 4 * biases for form, shares in found[name].items()}
        assert own["dense"] == pytest.approx(4 * weights)
        assert own["CSR"] == pytest.approx(8 * left + 4 * (65 + 11))
        assert own["bit mask"] == pytest.approx(4 * left + weights / 8)
        assert own["gaps"] >= 5 * left
    assert found["0.9"]["dense"]["disk"] < 0.3 < found["0.5"]["dense"]["disk"]
