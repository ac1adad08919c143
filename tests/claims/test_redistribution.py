import numpy as np
import pytest

from lexicon.terminal.bench.claims import redistribution

ALL = {
    "dense": 0.9,
    "at once": 0.5,
    "trained": 0.701,
    "first values": 0.69,
    "in full": 0.85,
    "twin": 0.91,
    "moved": 0.201,
    "twin moved": 0.1,
    "grew": 0.05,
    "twin grew": 0.01,
    "sums": 0.501,
    "twin's sums": 0.97,
    "possible sums": 0.8,
}


def rows(digits, fashion):
    return [
        ({"data": data, "seed": 0}, ALL | changed)
        for data, changed in (("digits", digits), ("fashion-mnist", fashion))
    ]


SUMS = {"sums": 0.499}
TASK = "for accuracy, not for what the neurons compute"


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ({}, {}, "holds"),
        ({}, SUMS, f"holds only {TASK}"),
        (SUMS, SUMS, f"holds only {TASK}"),
        (SUMS, {"trained": 0.699}, f"holds only on digits {TASK}"),
        ({"moved": 0.199}, SUMS, f"holds only on fashion-mnist {TASK}"),
        (
            {"first values": 0.692},
            {},
            f"holds only on fashion-mnist {TASK}",
        ),
        ({"moved": 0.199}, {"first values": 0.692}, "does not hold"),
        ({"trained": 0.699}, {"trained": 0.699}, "does not hold"),
    ],
)
def test_verdicts(digits, fashion, verdict):
    assert redistribution.judge(rows(digits, fashion)).verdict == verdict


def test_the_numbers_are_means():
    two = [*rows({"trained": 0.8, "moved": 0.3}, {})[:1], *rows({"trained": 0.84}, {})[:1]]
    finding = redistribution.judge(two)
    assert finding.result == (
        "Of the points of accuracy that pruning lost, further training brings back 32.0 of 40.0 on "
        "digits, and of what the first hidden neurons computed 50 %. Started again from their "
        "first values, the remaining weights end 13.0 points below."
    )
    assert finding.headings == ("read", "digits")
    assert finding.table[2] == ("of the pruned one, trained further, %", "82.0 ± 2.8")
    assert len(finding.table) == len(ALL)


def test_who_starts_from_what(monkeypatch):
    calls = []

    def fit(network, data, *, epochs, rng, learning_rate=0.05):
        calls.append((epochs, learning_rate, network.params["0.weight"].ravel().copy()))
        network.params["0.weight"][:] += 1
        return [0.5]

    monkeypatch.setattr(redistribution, "fit", fit)
    redistribution.measure(redistribution.CELLS[0])
    (*_, start), in_full, trained, twin, first = calls
    assert [call[:2] for call in calls] == [(20, 0.05)] * 2 + [(5, 0.02)] * 3
    np.testing.assert_array_equal(twin[2], start + 1)
    assert np.isin(trained[2], start + 1).all()
    assert np.isin(first[2], start).all()
    np.testing.assert_array_equal(in_full[2], first[2])
    np.testing.assert_array_equal(trained[2], first[2] + 1)  # the same positions


def test_a_cell():
    found = redistribution.measure(redistribution.CELLS[0] | {"epochs": 12})
    assert list(found) == list(redistribution.READS)
    assert found["dense"] > 0.94
    assert found["at once"] < found["trained"] < found["dense"]
    assert found["trained"] - found["at once"] > (found["dense"] - found["at once"]) / 2
    assert found["twin"] > found["dense"] - 0.02
    assert found["moved"] > 2 * found["twin moved"] > 0
    assert -0.1 < found["twin grew"] < found["grew"] < 0.5
    assert 0 < found["sums"] < found["possible sums"] < found["twin's sums"] <= 1


def test_the_fitted_values_are_the_best():
    rng = np.random.default_rng(0)
    dense = redistribution.mlp([6, 4, 3], rng=rng)
    masks = redistribution.global_masks(redistribution.magnitude_scores(dense), 0.5)
    pruned = redistribution.prune_network(dense, masks)
    x = rng.standard_normal((50, 6), dtype=np.float32)
    fitted = redistribution._fitted(pruned, dense, x)
    target = dense.layers[0].forward(x)
    rest = fitted.layers[0].forward(x) - target
    np.testing.assert_allclose(rest.sum(axis=0), 0, atol=1e-3)
    covered = fitted.layers[0].weight.toarray() != 0
    np.testing.assert_array_equal(covered, masks["0.weight"])
    # What is left over is orthogonal to every input that is stored.
    np.testing.assert_allclose((rest.T @ x)[covered], 0, atol=1e-3)
    before = pruned.layers[0].forward(x) - target
    assert (rest**2).sum() < (before**2).sum()
