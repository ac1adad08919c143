"""With k-winners-take-all compute drops while structure stays intact.

Networks with two hidden layers (784-400-400-10 on 10,000 images of Fashion-MNIST, 64-64-64-10 on
the digits) are trained with ReLU, and with 5, 10 and 20 % of each hidden layer as winners. What the
second layer costs is counted in FLOPs, and timed on 256 test samples together with the activation
before it: once dense, once skipping the zeros. Everything is compared with ReLU and a dense layer.
The control is a narrower ReLU network that takes as many FLOPs, all its layers together, as the
winners' network with zeros skipped. Three seeds.

The table shows the points of accuracy lost by the winners and by the narrow control, the share of
hidden neurons that win for no training sample, and the second layer's FLOPs when it skips the zeros
and its seconds, dense and skipping.

Intact is at most 1 point of mean accuracy below ReLU, dropped is at most half of what it was. Each
data set is settled at the smallest share of winners that leaves accuracy intact; without any, the
claim does not hold there. It holds if the seconds drop with a dense layer. It holds only where the
next layer skips the zeros if the seconds drop then alone, and only in FLOPs if these drop and the
seconds do not. Data sets that differ are named.
"""

from math import isqrt
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential, trace_inputs
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.relu_sparsity import SparseInputLinear, dead_neurons, product_flops
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import Data, fit, load

CONCERNS = ("k_wta", "relu_sparsity")
TIMED = True
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "winners": [0.05, 0.1, 0.2],
        "seed": seed,
    }
    for data, samples, sizes, epochs in (
        ("digits", None, [64, 64, 64, 10], 20),
        ("fashion-mnist", 10_000, [784, 400, 400, 10], 8),
    )
    for seed in range(3)
]
LITTLE, HALF = 0.01, 0.5
BATCH, ROUNDS = 256, 21
# What has to drop, and the condition under which it does.
CONDITIONS = {
    "dense": "",
    "skipping": "where the next layer skips the zeros",
    "flops": "in FLOPs, where the next layer skips the zeros",
}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train with ReLU and with few winners; read, count and time."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], rng=rng, samples=cell["samples"])
    n_in, width, _, n_out = cell["sizes"]
    found: dict[str, Any] = {}
    for share in (None, *cell["winners"]):
        network = mlp(cell["sizes"], rng=rng)
        if share:
            k = round(share * width)
            network.layers[1::2] = KWinnersTakeAll(k), KWinnersTakeAll(k)
        read = fit(network, data, epochs=cell["epochs"], rng=rng)[-1]
        costs = _costs(network, data)
        # The widest w with w² + (inputs + outputs) w products at most.
        both, products = n_in + n_out, round(costs["network_flops"] / 2)
        w = (isqrt(both**2 + 4 * products) - both) // 2
        narrow = fit(mlp([n_in, w, w, n_out], rng=rng), data, epochs=cell["epochs"], rng=rng)[-1]
        found[_key(share)] = costs | {"accuracy": read, "narrow": narrow}
    return found


def _key(share: float | None) -> str:
    """Return the name of a share of winners in the results."""
    return f"{share:g}" if share else "relu"


def _costs(network: Sequential, data: Data) -> dict[str, float]:
    """Count and time what follows the first layer, and find the neurons that never speak."""
    received = trace_inputs(network, data[0])
    first, second, third = (network.params[name] for name in received)
    hidden = [csr_array(received[name]) for name in ("2.weight", "4.weight")]
    n = len(data[0])
    flops = [product_flops(x, w) / n for x, w in zip(hidden, (second, third), strict=True)]
    x = network.layers[0].forward(data[2][:BATCH])
    activation, linear = network.layers[1], Linear(second, network.params["2.bias"])
    with threadpool_limits(1):
        return {
            "flops": flops[0] / (2 * second.size),
            "network_flops": 2 * first.size + sum(flops),
            "never": fmean(dead_neurons(y.toarray()).mean() for y in hidden),
            "dense_s": _seconds(Sequential([activation, linear]), x),
            "skipping_s": _seconds(Sequential([activation, SparseInputLinear(linear)]), x),
        }


def _seconds(network: Sequential, x: np.ndarray) -> float:
    """Return the median seconds of a forward pass."""
    seconds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        network.forward(x)
        seconds.append(perf_counter() - start)
    return median(seconds)


def judge(rows: Rows) -> Finding:
    """Settle each data set at the smallest share of winners that leaves accuracy intact."""
    table, results = [], []
    held: dict[str, str] = {}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    for data in names:
        seeds = [result for cell, result in rows if cell["data"] == data]
        relu = [seed["relu"] for seed in seeds]
        settled = False
        for share in (None, *sorted(rows[0][0]["winners"])):
            own = [seed[_key(share)] for seed in seeds]
            pairs = list(zip(own, relu, strict=True))
            lost = [r["accuracy"] - o["accuracy"] for o, r in pairs]
            narrow = [r["accuracy"] - o["narrow"] for o, r in pairs]
            cost = {
                "flops": fmean(o["flops"] for o in own),
                "dense": fmean(o["dense_s"] / r["dense_s"] for o, r in pairs),
                "skipping": fmean(o["skipping_s"] / r["dense_s"] for o, r in pairs),
            }
            in_percent = [
                f"{100 * v:.0f}" for v in (fmean(o["never"] for o in own), *cost.values())
            ]
            label = f"{100 * share:g} %" if share else "ReLU"
            table.append((data, label, spread(lost), spread(narrow), *in_percent))
            if not share or settled:
                continue
            settled = fmean(lost) <= LITTLE
            if settled:
                for way, condition in CONDITIONS.items():
                    if cost[way] <= HALF:
                        held.setdefault(data, condition)
            says = f"{label} on {data}", -fmean(lost), *in_percent[1:]
        results.append(says)  # of the share that settles it, or else of the largest
    conditions = set(held.values())
    if not held:
        verdict = "does not hold"
    elif len(held) == len(names) and len(conditions) == 1:
        verdict = f"holds only {held[data]}" if held[data] else "holds"
    else:
        parts = [f"on {data} {condition}".rstrip() for data, condition in held.items()]
        verdict = "holds only " + " and ".join(parts)
    labels, leads, *costs = zip(*results, strict=True)
    flops, dense, skipping = map(listed, costs)
    result = (
        f"If only the strongest hidden neurons speak, {listed(labels)}, accuracy is "
        f"{points(*leads)} that with ReLU. The next layer takes {flops} % of a dense one's FLOPs "
        f"if it skips the zeros. With the choice of neurons that is {skipping} % of the "
        f"seconds, and without skipping {dense} %."
    )
    columns = ("winners", "points lost", "narrow", "never, %", "FLOPs, %", "dense, %", "skip, %")
    return Finding(verdict, result, ("data", *columns), table)
