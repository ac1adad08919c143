"""A regularisation term drives unneeded weights to zero.

Noise that says nothing about the class is put beside the pixels: 64 inputs beside the 64 of the
digits (128-64-10), 196 beside the 784 of 20,000 images of Fashion-MNIST (980-300-100-10). So there
are weights that are known to be unneeded, those that read noise. The networks are trained with
weight decay, with L1 by subgradient steps and with L1 by proximal steps, each at several strengths,
and without any term. The control has as many connections in each layer as the term left, placed at
random from the start, and is trained for as long without a term. Five seeds on the digits, three on
Fashion-MNIST.

The table shows the points of accuracy lost by the term and by the control, the shares of the
weights that read pixels and of those that read noise that are exactly zero, and the share of the
latter that is smaller than 0.001, zeros included.

A term does what is said on a data set if at one of its strengths at least 90 % of the noise's
weights are exactly zero, mean accuracy is at most 1 point below the network without a term, and the
control loses more than 1 point, for else any weights could be zero. The claim holds if each of the
three terms does it on both data sets, only for those that do if some do it, and not at all if none
does.
"""

from statistics import fmean
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.l1_regularization import ProximalL1, SubgradientL1
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.terminal.bench.claims import Finding, Rows, listed, spread
from lexicon.terminal.bench.training import Data, load
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

CONCERNS = ("l1_regularization",)
CELLS = [
    {
        "data": data,
        "samples": samples,
        "noise": noise,
        "sizes": sizes,
        "epochs": epochs,
        "batch": batch,
        "strengths": {"weight decay": [0.01], "subgradient": l1, "proximal": l1},
        "seed": seed,
    }
    for data, samples, noise, sizes, epochs, batch, l1, seeds in (
        ("digits", None, 64, [128, 64, 10], 40, 32, [0.002, 0.004, 0.008], 5),
        ("fashion-mnist", 20_000, 196, [980, 300, 100, 10], 5, 64, [0.0005, 0.001, 0.002], 3),
    )
    for seed in range(20, 20 + seeds)
]
MOST, LITTLE, TINY, RATE = 0.9, 0.01, 1e-3, 0.05
TERMS = {
    "weight decay": "weight decay",
    "subgradient": "L1 by subgradient steps",
    "proximal": "L1 by proximal steps",
}
L1 = {"subgradient": SubgradientL1, "proximal": ProximalL1}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train without a term and with each, and count zeros where there is noise and where not."""
    rng = np.random.default_rng(cell["seed"])
    x, labels, x_test, labels_test = load(cell["data"], rng=rng, samples=cell["samples"])
    x, x_test = (
        np.hstack([part, rng.standard_normal((len(part), cell["noise"]), dtype=part.dtype)])
        for part in (x, x_test)
    )
    data = x, labels, x_test, labels_test
    plain = _fit(mlp(cell["sizes"], rng=rng), data, cell, rng)
    found: dict[str, Any] = {"none": plain}
    for term, strengths in cell["strengths"].items():
        found[term] = {}
        for strength in strengths:
            network = mlp(cell["sizes"], rng=rng)
            read = _fit(network, data, cell, rng, term, strength)
            weights = [theta for name, theta in network.params.items() if name.endswith("weight")]
            counts = [int(np.count_nonzero(weight)) for weight in weights]
            control = plain  # where nothing is zero, there is nothing to place
            if sum(counts) < sum(weight.size for weight in weights):
                control = _fit(mlp_of_counts(cell["sizes"], counts, rng=rng), data, cell, rng)
            pixels, noise = np.split(np.abs(weights[0]), [-cell["noise"]], axis=1)
            found[term][f"{strength:g}"] = {
                "accuracy": read,
                "control": control,
                "pixels": float((pixels == 0).mean()),
                "noise": float((noise == 0).mean()),
                "tiny": float((noise < TINY).mean()),
            }
    return found


def _fit(
    network: Sequential,
    data: Data,
    cell: dict[str, Any],
    rng: np.random.Generator,
    term: str = "none",
    strength: float = 0.0,
) -> float:
    """Train with a term, at a rate that falls to zero, and return the test accuracy."""
    decay = strength if term == "weight decay" else 0.0
    momentum = Momentum(network, learning_rate=RATE, weight_decay=decay)
    optimizer = L1[term](momentum, network, strength=strength) if term in L1 else momentum
    for layer in network.layers:
        if isinstance(layer, CSRLinear):
            layer.threads = 1

    def fall(epoch: int) -> None:
        momentum.learning_rate = RATE * (1 - epoch / cell["epochs"])

    with threadpool_limits(1):
        train(
            network,
            optimizer,
            *data[:2],
            epochs=cell["epochs"],
            batch_size=cell["batch"],
            rng=rng,
            after_epoch=fall,
        )
        return accuracy(network, *data[2:])


def judge(rows: Rows) -> Finding:
    """Look for a strength at which the noise's weights go and accuracy stays."""
    table = []
    zeros: dict[str, list[str]] = {term: [] for term in TERMS}
    does: dict[str, list[str]] = {term: [] for term in TERMS}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    for data in names:
        seeds = [result for cell, result in rows if cell["data"] == data]
        for term in TERMS:
            most = 0.0
            for strength in seeds[0][term]:
                own = [seed[term][strength] for seed in seeds]
                lost, control = (
                    [seed["none"] - seed[term][strength][of] for seed in seeds]
                    for of in ("accuracy", "control")
                )
                pixels, noise, tiny = (
                    100 * fmean(one[of] for one in own) for of in ("pixels", "noise", "tiny")
                )
                shares = [f"{share:.1f}" for share in (pixels, noise, tiny)]
                table.append((data, f"{term} {strength}", spread(lost), spread(control), *shares))
                if fmean(lost) <= LITTLE < fmean(control):
                    most = max(most, noise)
            if most >= 100 * MOST:
                does[term].append(data)
            zeros[term].append(f"{most:.1f}")
    parts = [
        says + ("" if does[term] == names else f" on {does[term][0]}")
        for term, says in TERMS.items()
        if does[term]
    ]
    if all(where == names for where in does.values()):
        verdict = "holds"
    elif parts:
        verdict = "holds only for " + " and ".join(parts)
    else:
        verdict = "does not hold"
    zeroed = ", ".join(f"{says} {listed(zeros[term])} %" for term, says in TERMS.items())
    result = (
        f"Some inputs are pure noise. On {' and on '.join(names)}, this share of their weights "
        f"becomes exactly zero at a cost of at most 1 point of accuracy: {zeroed}. Zeros count "
        "only where as many at random cost more."
    )
    columns = ("term", "points", "control", "pixel, %", "noise, %", "tiny, %")
    return Finding(verdict, result, ("data", *columns), table)
