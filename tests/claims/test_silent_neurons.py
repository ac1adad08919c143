import numpy as np
import pytest

from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.terminal.bench.claims import silent_neurons


def rows(digits, fashion, never=(0.1, 0.9), further=(0.9, 0.85)):
    """Return one seed of each: accuracy without the rarest at once and trained, share by share."""

    def found(shares):
        result = {"dense": 0.9, "never": dict(zip(("share", "at once"), never, strict=True))}
        for share, (at_once, trained) in zip(("0.25", "0.5", "0.75"), shares, strict=True):
            result[share] = {
                "rarest": {"at once": at_once, "trained": trained},
                "random": {"at once": 0.7, "trained": further[1]},
                "weakest": {"at once": 0.8, "trained": further[0]},
                "busiest": {"at once": 0.3, "trained": 0.8},
                "rate": 0.4,
            }
        return result

    cell = {"shares": [0.25, 0.5, 0.75], "seed": 0}
    return [
        (cell | {"data": "digits"}, found(digits)),
        (cell | {"data": "fashion-mnist"}, found(fashion)),
    ]


FREE, LITTLE, MUCH = (0.9, 0.9), (0.895, 0.9), (0.885, 0.885)
HEALED = (0.885, 0.895)


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ([FREE, LITTLE, MUCH], [FREE, LITTLE, LITTLE], "holds"),
        ([FREE, MUCH, MUCH], [FREE, LITTLE, LITTLE], None),
        ([FREE, HEALED, MUCH], [LITTLE, HEALED, MUCH], "holds only for the 25 % that fire rarest"),
        (
            [HEALED, HEALED, MUCH],
            [HEALED, HEALED, MUCH],
            "holds only for the 50 % that fire rarest, with further training",
        ),
        ([MUCH, MUCH, MUCH], [MUCH, MUCH, MUCH], "holds only for neurons that never fire"),
    ],
)
def test_verdicts(digits, fashion, verdict):
    if verdict is None:
        verdict = (
            "holds only for the 25 % that fire rarest on digits "
            "and for the 75 % that fire rarest on fashion-mnist"
        )
    assert silent_neurons.judge(rows(digits, fashion)).verdict == verdict


@pytest.mark.parametrize(
    ("never", "verdict"),
    [
        ((0.1, 0.8995), "holds only for neurons that never fire"),
        ((0.1, 0.8985), "does not hold"),
        ((0.0, 0.9), "does not hold"),  # there is none
    ],
)
def test_the_last_resort(never, verdict):
    much = [MUCH] * 3
    assert silent_neurons.judge(rows(much, much, never=never)).verdict == verdict
    # Where chance does as well after training, firing has nothing to do with it.
    healed = rows([HEALED] * 3, [HEALED] * 3, never=never, further=(0.9, 0.895))
    assert silent_neurons.judge(healed).verdict == verdict


def test_one_data_set_alone():
    alone = rows([LITTLE, MUCH, MUCH], [MUCH] * 3, never=(0.1, 0.8))
    verdict = "holds only for the 25 % that fire rarest on digits"
    assert silent_neurons.judge(alone).verdict == verdict


def test_numbers():
    finding = silent_neurons.judge(rows([FREE, (0.85, 0.895), MUCH], [FREE] * 3))
    assert finding.table[2:4] == [
        ("digits", "50", "at once", "5.0", "20.0", "10.0", "60.0"),
        ("digits", "50", "trained", "0.5", "5.0", "0.0", "10.0"),
    ]
    assert finding.result == (
        "On digits and on fashion-mnist, accuracy without the 50 % of hidden neurons that fire "
        "rarest is 5.0 points below and 0.0 points above the whole network's, and 0.5 points below "
        "and 0.0 points above after further training. Without as many random neurons it is 20.0 "
        "and 20.0 points below at once."
    )


def test_what_is_removed_says_nothing():
    # Neuron 1 says 2 where nothing comes in; without it the output is that of neuron 0 alone.
    first = Linear(np.array([[1.0], [-1.0]]), np.array([0.0, 2.0]))
    network = Sequential([first, Activation(relu), Linear(np.array([[3.0, 5.0]]))])
    smaller = silent_neurons._without(network, {"0.weight": np.array([True, False])})
    np.testing.assert_array_equal(smaller.forward(np.array([[4.0], [0.0]])), [[12.0], [0.0]])
    assert smaller.params["2.weight"].shape == (1, 1)
    assert network.params["2.weight"][0, 1] == 5


def test_a_cell():
    found = silent_neurons.measure(silent_neurons.CELLS[0] | {"shares": [0.25, 0.5]})
    assert found["dense"] > 0.94
    assert 0 <= found["never"]["share"] < 0.25
    assert abs(found["never"]["at once"] - found["dense"]) < 0.005
    for share in ("0.25", "0.5"):
        lost = {way: found["dense"] - found[share][way]["at once"] for way in silent_neurons.WAYS}
        assert lost["rarest"] < lost["random"] < lost["busiest"]
        assert found[share]["random"]["trained"] > found[share]["random"]["at once"]
    assert 0 < found["0.25"]["rate"] < found["0.5"]["rate"] < 1
