"""Deep Compression stores LeNet-300-100 in a fortieth of its bytes, and it errs no more.

Han, Mao and Dally (2016, *Deep compression*, ICLR, tables 1 and 2) went from 1.64 to 1.58 % of
errors on MNIST, and from 1070 to 27 KB. Here 784-300-100-10 is trained on all of MNIST. Magnitude
pruning leaves the published 8, 9 and 26 % of the weights of its layers, in two steps with further
training after each. The weights of a layer then share 64 values, as published, or 32. K-means finds
the values, from a start that spaces them evenly; they are trained further, each with the sum of its
weights' gradients. At last the numbers of the values, and the zeros skipped between neighbours, are
Huffman-coded. Every byte counts: the codes, a byte of code length for each symbol, the codebooks
and biases in float32, and how many entries each layer has.

The control is a dense network of about as many bytes, 784-8-10, trained for as long as the dense
one. All are trained for fewer epochs than the original. Five seeds.

It holds if with 64 values the network is on average at least 36 times smaller, a tenth short of the
published 40, and its mean error is at most 0.1 points above that of the dense network; only with 32
values, if that is so for them alone. It does not hold where the dense network errs more than
1.84 %, 0.2 points above the published one, or the control no more than the compressed network.
"""

from collections.abc import Sequence
from copy import deepcopy
from heapq import heapify, heappop, heappush
from math import ceil
from statistics import fmean
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import prune_network
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.sparse_storage import pack_gaps
from lexicon.terminal.bench.claims import Finding, Rows, spread
from lexicon.terminal.bench.training import fit, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

CONCERNS = ("sparse_storage", "magnitude_prune")
CELLS = [
    {
        "dense": [784, 300, 100, 10],
        "control": [784, 8, 10],
        "samples": 60_000,
        "kept": [[0.2, 0.2, 0.5], [0.4, 0.45, 0.52]],  # of what is left of each layer
        "values": [64, 32],
        "epochs": 12,
        "rate": 1e-4,  # of the shared values
        "seed": seed,
    }
    for seed in range(5)
]
SMALLER, LOSS, DENSE = 36, 0.1, 1.84
PUBLISHED = {"dense": ("1", "1.64"), "64 values, coded": ("40", "1.58")}


class Tied(Momentum):
    """Steps alike with all weights that share a value: by the sum of their gradients."""

    def __init__(self, network: Sequential, numbers: Sequence[np.ndarray], rate: float) -> None:
        """Take which value of its layer each weight has."""
        super().__init__(network, learning_rate=rate)
        self.layers, self.numbers = csr_layers(network), numbers

    def step(self) -> None:
        """Take one step, after which weights of one value are still equal."""
        for layer, number in zip(self.layers, self.numbers, strict=True):
            of_values = np.bincount(number, layer.grads["weight"])
            layer.grads["weight"] = of_values.astype(np.float32)[number]
        super().step()


def csr_layers(network: Sequential) -> list[CSRLinear]:
    """Return the sparse layers of a network."""
    return [layer for layer in network.layers if isinstance(layer, CSRLinear)]


def clustered(weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find values for weights to share, by k-means from even spacing, and which one each takes."""
    values = np.linspace(weights.min(), weights.max(), count)
    for _ in range(100):
        number = np.searchsorted((values[1:] + values[:-1]) / 2, weights)
        members = np.bincount(number, minlength=count)
        sums = np.bincount(number, weights, minlength=count)
        values = np.where(members, sums / np.maximum(members, 1), values)
    return number, values


def coded_bytes(symbols: np.ndarray) -> int:
    """Count a Huffman code of symbols, with a byte of code length for each up to the largest."""
    heap = [n for n in np.bincount(symbols).tolist() if n]
    heapify(heap)
    bits = 0
    while len(heap) > 1:  # two branches meet: every symbol on them takes one bit more
        both = heappop(heap) + heappop(heap)
        heappush(heap, both)
        bits += both
    return ceil(bits / 8) + int(symbols.max()) + 1


def layer_bytes(layer: CSRLinear, number: np.ndarray, count: int) -> int:
    """Count all that a layer of shared values takes in a file."""
    weight = layer.weight
    symbols = (number + 1).astype(np.uint8)  # 0 is a filler between values that are far apart
    packed = pack_gaps(csr_array((symbols, weight.indices, weight.indptr), weight.shape))
    codes = coded_bytes(packed.values) + coded_bytes(packed.gaps)
    return codes + 4 * count + layer.params["bias"].nbytes + 4


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune, share values, code: bytes and test error of each stage."""
    rng = np.random.default_rng(cell["seed"])
    data = load("mnist", rng=rng, samples=cell["samples"])

    def error(network: Sequential, epochs: int, rate: float) -> float:
        reads = fit(network, data, epochs=epochs, rng=rng, learning_rate=rate, weight_decay=5e-4)
        return 1 - reads[-1]

    found = {}
    networks = {name: mlp(cell[name], rng=rng) for name in ("control", "dense")}
    for name, network in networks.items():
        stored = sum(theta.nbytes for theta in network.params.values())
        found[name] = (stored, error(network, cell["epochs"], 0.05))
    for shares, epochs in zip(cell["kept"], (3, cell["epochs"]), strict=True):
        weights = [(name, w) for name, w in network.params.items() if name.endswith("weight")]
        pairs = zip(weights, shares, strict=True)
        masks = {name: magnitude_mask(weight, 1 - share) for (name, weight), share in pairs}
        network = prune_network(network, masks)
        found["pruned, CSR"] = (csr_bytes(network), error(network, epochs, 0.02))
    for count in cell["values"]:
        shared, numbers = deepcopy(network), []
        for layer in csr_layers(shared):
            number, values = clustered(layer.weight.data, count)
            layer.weight.data[:] = values[number]
            numbers.append(number)
        with threadpool_limits(1):
            tied = Tied(shared, numbers, cell["rate"])
            train(shared, tied, *data[:2], epochs=3, batch_size=64, rng=rng)
        parts = zip(csr_layers(shared), numbers, strict=True)
        stored = sum(layer_bytes(layer, number, count) for layer, number in parts)
        found[f"{count} values, coded"] = (stored, 1 - accuracy(shared, *data[2:]))
    return found


def csr_bytes(network: Sequential) -> int:
    """Count the arrays of all sparse layers."""
    weights = [layer.weight for layer in csr_layers(network)]
    arrays = [part for w in weights for part in (w.data, w.indices, w.indptr)]
    biases = [layer.params["bias"] for layer in csr_layers(network)]
    return sum(array.nbytes for array in [*arrays, *biases])


def judge(rows: Rows) -> Finding:
    """Compare mean sizes and errors with those of the dense network."""
    coded = [f"{count} values, coded" for count in rows[0][0]["values"]]
    names = ("dense", "control", "pruned, CSR", *coded)
    smaller = {name: [r["dense"][0] / r[name][0] for _, r in rows] for name in names}
    errors = {name: [100 * r[name][1] for _, r in rows] for name in names}
    mean = {name: fmean(values) for name, values in errors.items()}
    good = [
        count
        for count in rows[0][0]["values"]
        if fmean(smaller[f"{count} values, coded"]) >= SMALLER
        and mean[f"{count} values, coded"] <= mean["dense"] + LOSS
        and mean[f"{count} values, coded"] < mean["control"]
    ]
    if not good or mean["dense"] > DENSE:
        verdict = "does not hold"
    elif good[0] == rows[0][0]["values"][0]:
        verdict = "holds"
    else:
        verdict = f"holds only with {good[0]} values"
    said = (
        f"with {name.removesuffix(', coded')} {fmean(smaller[name]):.1f} times smaller, and errs "
        f"{mean[name]:.2f} %"
        for name in mean
        if name.endswith("coded")
    )
    result = (
        f"The dense network errs {mean['dense']:.2f} %. It becomes {'; '.join(said)}. A small "
        f"dense network, {fmean(smaller['control']):.1f} times smaller, errs "
        f"{mean['control']:.2f} %."
    )
    table: list[tuple[str, ...]] = []
    for name in sorted(mean, key=lambda name: fmean(smaller[name])):
        stored = f"{fmean([r[name][0] for _, r in rows]):,.0f}"
        times, error = spread(smaller[name], percent=False), spread(errors[name], 2, percent=False)
        table.append((name, stored, times, error, *PUBLISHED.get(name, ("", ""))))
    headings = ("network", "bytes", "times smaller", "error, %", "published: times", "error, %")
    return Finding(verdict, result, headings, table)
