import numpy as np
import pytest
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.terminal.bench.claims import deep_compression
from lexicon.terminal.bench.training import load
from lexicon.training.momentum import Momentum


def rows(dense, wide, narrow, control=0.08):
    """Return one seed: error of the dense network, times smaller and error of the coded ones."""
    found = {"control": (100, control), "dense": (3600, dense), "pruned, CSR": (1200, dense)}
    for count, (times, error) in ((64, wide), (32, narrow)):
        found[f"{count} values, coded"] = (3600 / times, error)
    # A kept row also says on what machine and when.
    return [({"values": [64, 32]}, found | {"machine": "a processor", "date": "2026-01-01"})]


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (rows(0.0164, (36.0, 0.0173), (45, 0.0173)), "holds"),
        (rows(0.0183, (40, 0.018), (45, 0.05)), "holds"),
        (rows(0.0164, (35.9, 0.0164), (36.1, 0.0173)), "holds only with 32 values"),
        (rows(0.0164, (40, 0.0175), (45, 0.0164)), "holds only with 32 values"),
        (rows(0.0164, (40, 0.0175), (45, 0.0175)), "does not hold"),
        (rows(0.0164, (35, 0.0164), (35, 0.0164)), "does not hold"),
        (rows(0.0185, (40, 0.0164), (45, 0.0164)), "does not hold"),  # a bad dense network
        (rows(0.0164, (40, 0.017), (45, 0.017), control=0.0169), "does not hold"),
    ],
)
def test_verdicts(made, verdict):
    assert deep_compression.judge(made).verdict == verdict


def test_means_beside_what_was_published():
    made = rows(0.016, (40, 0.017), (50, 0.018)) + rows(0.017, (38, 0.018), (48, 0.019))
    finding = deep_compression.judge(made)
    assert finding.table == [
        ("dense", "3,600", "1.0 ± 0.0", "1.65 ± 0.07", "1", "1.64"),
        ("pruned, CSR", "1,200", "3.0 ± 0.0", "1.65 ± 0.07", "", ""),
        ("control", "100", "36.0 ± 0.0", "8.00 ± 0.00", "", ""),
        ("64 values, coded", "92", "39.0 ± 1.4", "1.75 ± 0.07", "40", "1.58"),
        ("32 values, coded", "74", "49.0 ± 1.4", "1.85 ± 0.07", "", ""),
    ]
    assert "with 64 values 39.0 times smaller, and errs 1.75 %; with 32" in finding.result


@pytest.mark.parametrize(
    ("symbols", "size"),
    [
        ([0, 0, 0, 0, 1, 1, 2, 3], 2 + 4),  # 14 bits: lengths 1, 2, 3 and 3
        ([5, 5, 5], 0 + 6),
        ([0, 1, 0, 3, 1, 1, 3, 0, 1], 2 + 4),  # 14 bits: 4 of length 1, 5 of length 2
    ],
)
def test_huffman_by_hand(symbols, size):
    assert deep_compression.coded_bytes(np.array(symbols)) == size


def test_huffman_is_within_a_bit_of_the_entropy(rng):
    symbols = rng.geometric(0.2, size=5000)
    shares = np.bincount(symbols)[1:] / len(symbols)
    shares = shares[shares > 0]
    floor = -len(symbols) * (shares * np.log2(shares)).sum() / 8
    bare = deep_compression.coded_bytes(symbols) - symbols.max() - 1
    assert floor <= bare < 1.02 * floor


def test_a_layer_by_hand():
    dense = np.zeros((2, 300), np.float32)
    dense[0, 1], dense[0, 4], dense[1, 115] = 3.5, 0.5, 3.5
    layer = CSRLinear(csr_array(dense))
    # Entries 2, 1, filler, 2 and gaps 1, 2, 255, 154: 6 and 8 bits, tables of 3 and 256 symbols.
    codebook, biases, count = 2 * 4, 2 * 4, 4
    size = (1 + 3) + (1 + 256) + codebook + biases + count
    assert deep_compression.layer_bytes(layer, np.array([1, 0, 1]), 2) == size


def test_k_means_ends_at_the_means_of_what_is_nearest(rng):
    number, values = deep_compression.clustered(np.array([-1, 1.0, -0.8, 0.6, 0.8]), 2)
    np.testing.assert_array_equal(number, [0, 1, 0, 1, 1])
    np.testing.assert_allclose(values, [-0.9, 0.8])
    weights = rng.random(2000)
    number, values = deep_compression.clustered(weights, 16)
    assert (np.diff(values) > 0).all()
    nearest = np.abs(weights[:, None] - values).argmin(axis=1)
    assert (number != nearest).mean() < 0.002  # as good as settled
    of_members = [weights[number == i].mean() for i in range(16)]
    np.testing.assert_allclose(values, of_members)
    _, values = deep_compression.clustered(np.array([0.0, 1.0]), 4)  # two without members stay
    np.testing.assert_allclose(values, [0, 1 / 3, 2 / 3, 1])


def test_weights_of_one_value_step_by_the_sum_of_their_gradients():
    stored = csr_array(np.array([[2.0, 3.0], [3.0, 2.0]], np.float32))
    network = Sequential([CSRLinear(stored)])
    (layer,) = network.layers
    tied = deep_compression.Tied(network, [np.array([0, 1, 1, 0])], 0.1)
    for expected in ([1.5, 2.5], [0.55, 1.55]):  # with velocity 5, then 0.9 · 5 + 5
        layer.grads = {
            "weight": np.array([1, 2, 3, 4], np.float32),
            "bias": np.zeros(2, np.float32),
        }
        tied.step()
        np.testing.assert_allclose(layer.weight.toarray()[0], expected, rtol=1e-6)
        np.testing.assert_array_equal(layer.weight.data[[0, 1]], layer.weight.data[[3, 2]])
    assert issubclass(deep_compression.Tied, Momentum)


def test_a_cell(monkeypatch):
    # MNIST may not be at hand: the small digits instead.
    monkeypatch.setattr(
        deep_compression, "load", lambda name, **given: load("digits", rng=given["rng"])
    )
    original = deep_compression.prune_network

    def prune(network, masks):
        for name, mask in masks.items():
            sizes = np.abs(network.params[name])
            assert sizes[mask].min() >= sizes[~mask].max()
        return original(network, masks)

    monkeypatch.setattr(deep_compression, "prune_network", prune)
    cell = deep_compression.CELLS[0] | {"dense": [64, 50, 10], "control": [64, 2, 10]}
    cell |= {"kept": [[0.5, 0.5], [0.4, 0.6]], "values": [32, 2], "epochs": 15}
    found = deep_compression.measure(cell)
    assert found["dense"][0] == 4 * (3700 + 60)
    assert found["control"][0] == 4 * (148 + 12)
    nnz = 640 + 150
    assert found["pruned, CSR"][0] == 8 * nnz + 4 * (51 + 11) + 4 * 60
    assert found["2 values, coded"][0] < found["32 values, coded"][0] < found["pruned, CSR"][0] / 3
    errors = {name: error for name, (_, error) in found.items()}
    assert max(errors["dense"], errors["pruned, CSR"], errors["32 values, coded"]) < 0.08
    assert errors["32 values, coded"] < errors["2 values, coded"] < 0.5
    assert errors["dense"] < errors["control"]
