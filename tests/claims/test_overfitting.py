import pytest

from lexicon.terminal.bench.claims import overfitting

FEW, USELESS = ("digits", 50, 0), ("fashion-mnist", 2000, 784)


def rows(*situations):
    """Return two seeds of each: test accuracies of the networks, all right on what they saw."""
    return [
        (
            {"data": data, "samples": samples, "useless": useless, "seed": seed},
            {
                way: {"strength": 0.9, "train": 1.0, "test": test + 0.001 * seed}
                for way, test in ({"dense": 0.7, "narrow": 0.6, "decay": 0.71} | tests).items()
            },
        )
        for (data, samples, useless), tests in situations
        for seed in range(2)
    ]


def of(static, pruned, **more):
    return {"static": static, "SET": static, "pruned": pruned, **more}


@pytest.mark.parametrize(
    ("situations", "verdict"),
    [
        ([(FEW, of(0.711, 0.72)), (USELESS, of(0.72, 0.72))], "holds"),
        ([(FEW, of(0.709, 0.709)), (USELESS, of(0.6, 0.7))], "does not hold"),  # below a point
        (
            [(FEW, of(0.709, 0.711)), (USELESS, of(0.6, 0.8))],
            "holds only for pruned networks on 50 samples of digits, "
            "on 2,000 samples of fashion-mnist with 784 useless inputs",
        ),
        (  # decay, or a narrow network, is ahead by more than a point, or by less
            [
                (FEW, of(0.711, 0.73, decay=0.722)),
                (USELESS, of(0.711, 0.73, narrow=0.722)),
            ],
            "holds only for pruned networks on 50 samples of digits, "
            "on 2,000 samples of fashion-mnist with 784 useless inputs",
        ),
        (
            [(FEW, of(0.713, 0.6, decay=0.722))],
            "holds only for static networks on 50 samples of digits; "
            "SET networks on 50 samples of digits",
        ),
    ],
)
def test_verdicts(situations, verdict):
    assert overfitting.judge(rows(*situations)).verdict == verdict


def test_a_gain_must_exceed_two_standard_errors():
    found = rows((FEW, of(0.6, 0.73)))
    assert overfitting.judge(found).verdict.startswith("holds only for pruned")
    found[1][1]["pruned"]["test"] = 0.712  # 0.030 and 0.011: 0.0205 by 0.0095, twice is 0.019
    assert overfitting.judge(found).verdict.startswith("holds only for pruned")
    found[1][1]["pruned"]["test"] = 0.71  # 0.030 and 0.009: 0.0195 by 0.0105
    assert overfitting.judge(found).verdict == "does not hold"


def test_a_smaller_gap_alone_is_no_gain_and_a_higher_accuracy_alone_is_not_either():
    found = rows((FEW, of(0.69, 0.72)))
    for _, seed in found:
        seed["static"]["train"] = 0.8  # gap 0.11 instead of 0.30
        seed["pruned"]["train"] = 1.0
        seed["dense"]["train"] = 0.98  # gap 0.28, as pruned
    finding = overfitting.judge(found)
    assert finding.verdict == "does not hold"
    assert "static 1 and 0, SET 0 and 0 and pruned 0 and 1." in finding.result


def test_numbers():
    finding = overfitting.judge(rows((FEW, of(0.72, 0.75)), (USELESS, of(0.72, 0.8))))
    assert finding.table[0] == ("digits, 50", "dense", "100.0 ± 0.0", "70.0 ± 0.1", "30.0 ± 0.1")
    assert finding.table[9][:2] == ("fashion-mnist, 2,000 + 784", "pruned")
    assert finding.table[9][3:] == ("80.0 ± 0.1", "19.9 ± 0.1")
    assert finding.result.endswith(
        "The test accuracy of the best sparse way is from 5.0 points above to 10.0 points above "
        "the dense network's, that of weight decay from 1.0 points above to 1.0 points above."
    )


def test_a_cell():
    cell = {"data": "digits", "samples": 100, "useless": 256, "hidden": [64]}
    found = overfitting.measure(cell | {"epochs": 15, "batch": 25, "seed": 7})
    assert list(found) == ["dense", "static", "SET", "pruned", "narrow", "decay"]
    assert all(0.05 < read["test"] < read["train"] for read in found.values())
    assert found["dense"]["train"] == 1
    assert found["pruned"]["train"] > 0.9
    assert {tuple(read["recipe"]) for read in found.values()} <= set(overfitting.RECIPES)
    assert min(found["pruned"]["test"], found["dense"]["test"]) > found["static"]["test"] + 0.02
    assert found["decay"]["strength"] in (0.003, 0.01, 0.03)
    assert found["narrow"]["strength"] in (0.8, 0.9, 0.95)


@pytest.mark.parametrize("way", ["static", "SET", "pruned", "narrow"])
def test_as_many_weights_and_the_right_ones(way):
    cell = {"hidden": [64], "epochs": 4, "batch": 25, "seed": 7}
    data = overfitting.load("digits", rng=overfitting.np.random.default_rng(0), samples=100)
    network = overfitting._trained(way, 0.9, data, 0.05, cell)
    weights = [a for name, a in network.params.items() if name.endswith("weight")]
    connections = sum(weight.size for weight in weights)
    if way == "narrow":
        assert [weight.shape for weight in weights] == [(6, 64), (10, 6)]
    else:
        assert connections == round(0.1 * 64 * 74)
        drawn = overfitting._trained("static", 0.9, data, 0.05, cell | {"epochs": 1})
        same = network.layers[0].positions.tolist() == drawn.layers[0].positions.tolist()
        assert same == (way == "static")
