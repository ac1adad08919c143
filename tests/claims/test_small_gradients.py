import numpy as np
import pytest

from lexicon.architectures.mlp import mlp
from lexicon.terminal.bench.claims import small_gradients
from lexicon.terminal.bench.training import load

BAD = (0.5, 0.5)


def seed(gradient, *, trained=BAD, products=(BAD, BAD), chance=BAD):
    """Return one seed: accuracies at 50 and at 80 %, of 0.9; what is not given is bad."""
    of_score = dict.fromkeys(small_gradients.SCORES, (BAD, BAD))
    of_score["mean gradient"] = (gradient, trained)
    of_score |= {
        name: (each, BAD) for name, each in zip(small_gradients.PRODUCTS, products, strict=True)
    }
    of_score["chance"] = (chance, chance)
    shares = {
        share: {
            name: {"at once": at_once[i], "trained": after[i]}
            for name, (at_once, after) in of_score.items()
        }
        for i, share in enumerate(("0.5", "0.8"))
    }
    return {"dense": 0.9, "of the start": 0.02, "not cancelled": 0.125, **shares}


def rows(digits, fashion):
    return [
        ({"data": data, "sparsities": [0.5, 0.8], "seed": 0}, result)
        for data, result in (("digits", digits), ("fashion-mnist", fashion))
    ]


FINE, HALF = (0.8905, 0.8905), (0.8905, 0.8895)


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        (seed(FINE), seed(FINE), "holds"),
        (
            seed(HALF),
            seed(FINE),
            "holds only up to 50 % of the weights on digits "
            "and up to 80 % of the weights on fashion-mnist",
        ),
        (
            seed(BAD, trained=FINE),
            seed(HALF),
            "holds only up to 50 % of the weights on fashion-mnist",
        ),
        # Chance does as well at 50 %: that shows nothing, but does not stand in the way.
        (seed(FINE, chance=(0.9, 0.5)), seed(FINE, chance=(0.9, 0.5)), "holds"),
        (
            seed(FINE, chance=(0.5, 0.891)),
            seed(BAD),
            "holds only up to 50 % of the weights on digits",
        ),
        (seed(FINE, chance=FINE), seed(HALF, chance=FINE), "does not hold"),
        (
            seed(BAD, trained=HALF, products=(FINE, FINE)),
            seed(BAD),
            "holds only with further training, up to 50 % of the weights on digits",
        ),
        (
            seed(BAD, products=(HALF, FINE)),
            seed(BAD, products=(HALF, BAD)),
            "holds only for the gradient times the weight, up to 80 % of the weights on digits "
            "and up to 50 % of the weights on fashion-mnist",
        ),
        (seed((0.8895, 0.9)), seed((0.8895, 0.9)), "does not hold"),  # 80 % needs 50 % before it
        (seed(BAD), seed(BAD), "does not hold"),
    ],
)
def test_verdicts(digits, fashion, verdict):
    assert small_gradients.judge(rows(digits, fashion)).verdict == verdict


def test_losses_are_in_points():
    one = seed((0.8, 0.7), trained=(0.88, 0.86), products=(BAD, (0.895, 0.85)), chance=(0.6, 0.3))
    finding = small_gradients.judge(rows(one, one)[:1])
    assert finding.table[0] == ("digits", "at once", "mean gradient", "10.0", "20.0")
    assert finding.table[3] == ("digits", "at once", "weight × size", "0.5", "5.0")
    assert finding.table[6] == ("digits", "trained", "mean gradient", "2.0", "4.0")
    assert finding.table[11] == ("digits", "trained", "chance", "30.0", "60.0")
    assert finding.result == (
        "On digits, accuracy without the half of the weights whose gradient is nearest zero is "
        "10.0 points below the dense network's. Without a random half it is 30.0 points below, and "
        "without the half whose gradient times weight is smallest 0.5 points below."
    )


def test_the_slopes_are_those_of_the_samples():
    rng = np.random.default_rng(0)
    network, data = mlp([64, 8, 10], rng=rng), load("digits", rng=rng, samples=12)
    network.params["0.weight"][0, 0] = 0  # has a slope, and no product
    mean, size = small_gradients._slopes(network, data)
    alone = [
        small_gradients._slopes(network, (data[0][i : i + 1], data[1][i : i + 1], *data[2:]))[0]
        for i in range(12)
    ]
    for name in mean:
        used = network.params[name] != 0
        expected = np.mean([each[name] for each in alone], axis=0)
        np.testing.assert_allclose(size[name][used], expected[used], rtol=1e-4, atol=1e-7)
        assert (mean[name][used] <= size[name][used] * (1 + 1e-4) + 1e-7).all()


def test_a_cell():
    found = small_gradients.measure(small_gradients.CELLS[0] | {"epochs": 12, "sparsities": [0.5]})
    assert found["dense"] > 0.94
    assert 0 < found["of the start"] < 0.2
    assert 0 < found["not cancelled"] < 0.5
    at_once = {score: read["at once"] for score, read in found["0.5"].items()}
    assert at_once["chance"] < at_once["mean gradient"] < at_once["weight × mean"]
    assert at_once["size of gradients"] < at_once["weight × size"]
    assert at_once["weight × size"] > found["dense"] - 0.02
    assert found["0.5"]["chance"]["trained"] > at_once["chance"] + 0.1
