import numpy as np
import pytest

from lexicon.architectures.mlp import mlp
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.terminal.bench.claims import lottery
from lexicon.terminal.bench.training import load


def rows(*seeds):
    """Return seeds: dense, ticket, small ticket, control and small control, early and late in %."""
    made = []
    for dense, ticket, small, control, small_control in seeds:
        found = {"tickets": [dense, ticket, small], "controls": [control, small_control]}
        shares = {kind: [[e / 100 for e in pair] for pair in found[kind]] for kind in found}
        made.append(({"controls": [1, 2], "rounds": 2, "share": 0.5}, shares))
    return made


DENSE, GOOD, SLOW = (3.0, 2.0), (2.7, 2.0), (3.2, 2.3)


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([(DENSE, GOOD, DENSE, SLOW, SLOW)], "holds"),
        ([(DENSE, (2.79, 2.09), (9, 2.24), SLOW, SLOW)], "holds"),
        ([(DENSE, GOOD, (9, 2.26), SLOW, SLOW)], "holds only at 50 %"),
        ([(DENSE, GOOD, (9, 1.74), SLOW, SLOW)], "holds only at 50 %"),  # not back, but ahead
        ([(DENSE, (2.81, 2.0), DENSE, SLOW, SLOW)], "does not hold"),  # hardly faster
        ([(DENSE, (2.7, 2.11), DENSE, SLOW, SLOW)], "does not hold"),  # ends worse
        ([(DENSE, GOOD, DENSE, (2.79, 2.09), SLOW)], "does not hold"),  # so does the control
        ([(DENSE, GOOD, DENSE, (2.81, 2.09), SLOW)], "holds"),
        ([(DENSE, GOOD, DENSE, (2.79, 2.11), SLOW)], "holds"),
        ([((4, 2.26), GOOD, DENSE, SLOW, SLOW)], "does not hold"),  # a bad dense network
        # On average faster by 0.45 points, but not in each seed.
        (
            [(DENSE, (2, 2), DENSE, SLOW, SLOW), (DENSE, (3.1, 2), DENSE, SLOW, SLOW)],
            "does not hold",
        ),
    ],
)
def test_verdicts(seeds, verdict):
    assert lottery.judge(rows(*seeds)).verdict == verdict


def test_published_beside_ours():
    (cell, _), *_ = rows((DENSE, GOOD, DENSE, SLOW, SLOW))
    found = {"tickets": [[0.03, 0.02]] * 16, "controls": [[0.04, 0.02]] * 2}
    table = lottery.judge([(cell | {"controls": [7, 15], "rounds": 15, "share": 0.2}, found)]).table
    assert table[7] == ("21.0", "3.00", "2.00", "4.00", "2.00", "38 % sooner")
    assert table[15] == ("3.5", "3.00", "2.00", "4.00", "2.00", "as dense")
    assert {row[3:] for row in [*table[:7], *table[8:15]]} == {("", "", "")}


def test_means_in_the_table_and_the_result():
    finding = lottery.judge(
        rows(
            ((3.0, 2.0), (2.5, 1.9), (3.5, 2.1), (3.2, 2.2), (5.0, 3.0)),
            ((3.2, 2.2), (2.7, 2.1), (3.9, 2.3), (3.4, 2.4), (6.0, 4.0)),
        )
    )
    assert finding.table == [
        ("100.0", "3.10 ± 0.14", "2.10 ± 0.14", "", "", ""),
        ("50.0", "2.60 ± 0.14", "2.00 ± 0.14", "3.30 ± 0.14", "2.30 ± 0.14", ""),
        ("25.0", "3.70 ± 0.28", "2.20 ± 0.14", "5.50 ± 0.71", "3.50 ± 0.71", ""),
    ]
    assert "ticket of 50.0 % of its weights 2.60 and 2.00 %, the same" in finding.result
    assert "3.70 and 2.20 % for the ticket, 5.50 and 3.50 % for other" in finding.result


@pytest.mark.parametrize("share", [0.3, 0.92])  # dense with a mask, and CSR
def test_training_moves_what_is_stored_and_nothing_else(rng, share):
    dense = mlp([20, 15, 5], rng=rng)
    network = prune_network(dense, global_masks(magnitude_scores(dense), share))
    x = rng.standard_normal((200, 20), dtype=np.float32)
    labels = (x[:, :5]).argmax(axis=1)
    first, last = lottery.errors(network, (x, labels, x, labels), 20, rng)
    assert last == pytest.approx((network.forward(x).argmax(axis=1) != labels).mean())
    assert 0 < last < first < 1
    for layer, was in zip(network.layers[::2], dense.layers[::2], strict=True):
        stored = layer.weight.toarray() != 0
        assert stored.sum() == layer.weight.nnz
        assert (layer.weight.toarray() != was.params["weight"])[stored].any()
        assert layer.params["bias"].any()


def test_a_cell(monkeypatch):
    # MNIST may not be at hand: the small digits instead.
    monkeypatch.setattr(lottery, "load", lambda name, **given: load("digits", rng=given["rng"]))
    seen = []
    fit = lottery.errors
    monkeypatch.setattr(
        lottery,
        "errors",
        lambda network, *given: (
            seen.append(
                (
                    sum(w.size for n, w in network.params.items() if n.endswith("weight")),
                    network.params["2.weight"].ravel().copy(),
                )
            )
            or fit(network, *given)
        ),
    )
    cell = {"sizes": [64, 50, 10], "epochs": 15, "share": 0.5, "rounds": 2, "controls": [1, 2]}
    found = lottery.measure(cell | {"samples": None, "seed": 1})
    assert len(found["tickets"]) == 3
    assert len(found["controls"]) == 2
    assert [size for size, _ in seen] == [3700, 1850, 1850, 925, 925]
    dense, control, ticket, _, small = (values for _, values in seen)
    assert set(ticket) < set(dense)  # rewound
    assert set(small) < set(ticket)
    assert not set(control) & set(dense)
    for early, late in found["tickets"]:
        assert late < early < 0.5
        assert late < 0.1
