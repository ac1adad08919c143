import numpy as np
import pytest

from lexicon.terminal.bench.claims import balance

WIDE = [784, 300, 100, 10]


def seed(*trained, at_once=0.5):
    """Return one seed: trained further with none, 50, 90 and 99.5 % removed, at once always bad."""
    shares = ("0", "0.5", "0.9", "0.995")
    return {
        share: {"left": 1000 - i, "at once": at_once if i else 0.9, "trained": read}
        for i, (share, read) in enumerate(zip(shares, trained, strict=True))
    }


def rows(*networks):
    return [
        ({"data": data, "sizes": sizes, "sparsities": [0.5, 0.9, 0.995], "seed": 0}, result)
        for (data, sizes), result in zip(
            (("digits", [64, 64, 10]), ("fashion-mnist", WIDE)), networks, strict=True
        )
    ]


FLAT_THEN_STEEP = seed(0.9, 0.8905, 0.8905, 0.869)


@pytest.mark.parametrize(
    ("network", "verdict"),
    [
        (FLAT_THEN_STEEP, "holds"),
        (seed(0.9, 0.8905, 0.8, 0.869), "holds"),  # a knee at 50 % is one
        # Costs from the start, never costs much.
        (seed(0.9, 0.8895, 0.8895, 0.6), "holds only on digits (1,000 weights)"),
        (seed(0.9, 0.9, 0.9, 0.871), "holds only on digits (1,000 weights)"),
    ],
)
def test_verdicts(network, verdict):
    assert balance.judge(rows(FLAT_THEN_STEEP, network)).verdict == verdict


def test_it_does_not_hold_where_no_network_has_a_knee():
    no_fall, slope = seed(0.9, 0.9, 0.9, 0.9), seed(0.9, 0.88, 0.86, 0.84)
    assert balance.judge(rows(no_fall, slope)).verdict == "does not hold"


def test_the_knee_is_before_the_first_loss():
    # Little is lost at 90 % again, by luck, after more than little at 50 %.
    finding = balance.judge(rows(seed(0.9, 0.88, 0.9, 0.8), FLAT_THEN_STEEP))
    assert finding.verdict == "holds only on fashion-mnist (1,000 weights)"
    assert finding.result == (
        "After further training, at most 1 point of accuracy is lost up to this share of removed "
        "weights: 0 % on digits (1,000 weights) and 90 % on fashion-mnist (1,000 weights). With "
        "99.5 % removed, even the network that loses least is 3.1 points below its unpruned twin."
    )


def test_each_seed_is_compared_in_the_mean():
    cells = rows(FLAT_THEN_STEEP, FLAT_THEN_STEEP)[:1]
    cells.append((cells[0][0] | {"seed": 1}, seed(0.92, 0.92, 0.92, 0.841, at_once=0.914)))
    finding = balance.judge(cells)
    assert finding.table == [
        ("digits 64-64-10", "0", "1,000", "90.0 ± 0.0", "91.0 ± 1.4"),
        ("digits 64-64-10", "50", "999", "70.7 ± 29.3", "90.5 ± 2.1"),
        ("digits 64-64-10", "90", "998", "70.7 ± 29.3", "90.5 ± 2.1"),
        ("digits 64-64-10", "99.5", "997", "70.7 ± 29.3", "85.5 ± 2.0"),
    ]
    assert "With 99.5 % removed, even the network that loses least is 5.5 points" in finding.result


def test_all_start_from_the_dense_network_and_train_as_long(monkeypatch):
    calls = []

    def fit(network, data, *, epochs, rng):
        calls.append((epochs, network.params["0.weight"].copy()))
        network.params["0.weight"][:] += 1
        return [0.5]

    monkeypatch.setattr(balance, "fit", fit)
    balance.measure(balance.CELLS[0] | {"sparsities": [0.5, 0.9]})
    assert [epochs for epochs, _ in calls] == [20] * 4
    (_, start), (_, control), *pruned = calls
    np.testing.assert_array_equal(control, start + 1)
    for _, weights in pruned:
        assert np.isin(weights, control).all()


def test_a_cell():
    found = balance.measure(balance.CELLS[0] | {"epochs": 8, "sparsities": [0.5, 0.98]})
    assert [found[share]["left"] for share in ("0", "0.5", "0.98")] == [4736, 2368, 95]
    whole, half, little = (found[share] for share in ("0", "0.5", "0.98"))
    assert whole["trained"] > 0.94
    assert half["at once"] > 0.9  # the largest are kept
    assert half["trained"] > whole["trained"] - 0.02
    assert little["at once"] < little["trained"] < whole["trained"] - 0.1
