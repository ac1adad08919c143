"""Sparse networks are smaller in memory and on disk.

A network (64-64-10 on the digits, 784-300-100-10 on 20,000 images of Fashion-MNIST) is trained, and
20 to 99 % of its weights are removed by magnitude, all layers ranked together. Its weights, biases
and positions are then written in four forms: a dense array full of zeros; CSR, which can be
multiplied as it stands; a bit mask or gaps of 8 bits beside the nonzeros, which have to be unpacked
first. Bytes in memory are those of all arrays, float32 with int32 indices. Bytes on disk are the
length of the .npz file, each array zipped. Both are set in relation to the trained dense network,
its file zipped too. Three seeds.

Smaller is at most 95 % of the dense network's bytes, on average over seeds. What counts is CSR, in
memory and on disk: the form that a sparse network really runs in. The claim holds if CSR is smaller
in both at every sparsity measured and on both data sets. Otherwise it holds only from the lowest
sparsity on from which that is so up to 99 %, in memory and on disk apart. It does not hold if in
neither.
"""

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_storage import disk_bytes, pack_bitmask, pack_gaps
from lexicon.terminal.bench.claims import Finding, Rows
from lexicon.terminal.bench.training import fit, load

CONCERNS = ("sparse_storage", "sparse_matrix", "csr_layer", "sparsity")
SPARSITIES = [0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 0.95, 0.99]
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "sparsities": SPARSITIES,
        "seed": seed,
    }
    for data, samples, sizes, epochs in (
        ("digits", None, [64, 64, 10], 20),
        ("fashion-mnist", 20_000, [784, 300, 100, 10], 8),
    )
    for seed in range(3)
]
SMALLER = 0.95
PLACES = {"memory": "in memory", "disk": "on disk"}
FORMS: dict[str, Callable[[CSRLinear], dict[str, np.ndarray]]] = {
    "dense": lambda layer: {"weight": layer.weight.toarray()},
    "CSR": lambda layer: {
        part: getattr(layer.weight, part) for part in ("data", "indices", "indptr")
    },
    "bit mask": lambda layer: _arrays(pack_bitmask(layer.weight.toarray())),
    "gaps": lambda layer: _arrays(pack_gaps(layer.weight)),
}


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune, write in every form, and return bytes as shares of the dense network's."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], rng=rng, samples=cell["samples"])
    dense = mlp(cell["sizes"], rng=rng)
    fit(dense, data, epochs=cell["epochs"], rng=rng)
    whole = _bytes(dict(dense.params))
    found: dict[str, Any] = {"dense": whole}
    for sparsity in cell["sparsities"]:
        pruned = prune_network(dense, global_masks(magnitude_scores(dense), sparsity))
        found[f"{sparsity:g}"] = {
            name: {
                place: size / whole[place] for place, size in _bytes(_written(pruned, form)).items()
            }
            for name, form in FORMS.items()
        }
    return found


def judge(rows: Rows) -> Finding:
    """Find from where on CSR is smaller."""
    sparsities = rows[0][0]["sparsities"]
    shares: dict[str, dict[tuple[str, float, str], float]] = {place: {} for place in PLACES}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    for place, own in shares.items():
        for data in names:
            for sparsity in sparsities:
                for form in FORMS:
                    own[data, sparsity, form] = fmean(
                        found[f"{sparsity:g}"][form][place]
                        for cell, found in rows
                        if cell["data"] == data
                    )
    begins: dict[str, float] = {}
    for place, own in shares.items():
        for sparsity in reversed(sparsities):
            if max(own[data, sparsity, "CSR"] for data in names) > SMALLER:
                break
            begins[place] = sparsity
    if len(begins) == len(PLACES) and max(begins.values()) == sparsities[0]:
        verdict = "holds"
    elif begins:
        verdict = "holds only " + " and ".join(
            f"{where} from {100 * begins[place]:g} % sparsity on"
            for place, where in PLACES.items()
            if place in begins
        )
    else:
        verdict = "does not hold"
    half, half_file, few, few_file = (
        f"{100 * max(own[data, sparsity, 'CSR'] for data in names):.0f} %"
        for sparsity in (0.5, 0.9)
        for own in shares.values()
    )
    result = (
        "A sparse network also has to store where its weights are (as CSR). At 50 % sparsity it "
        f"takes up to {half} of the dense network's bytes in memory and {half_file} on disk, at "
        f"90 % sparsity up to {few} and {few_file}. Both files are zipped."
    )
    table = [
        (
            data,
            f"{100 * sparsity:g}",
            *(
                " / ".join(f"{100 * own[data, sparsity, form]:.1f}" for own in shares.values())
                for form in FORMS
            ),
        )
        for data in names
        for sparsity in sparsities
    ]
    headings = ("data", "removed, %", *(f"{form}, memory / file, %" for form in FORMS))
    return Finding(verdict, result, headings, table)


def _arrays(packed: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a packed matrix by name, without its shape."""
    return {name: part for name, part in packed._asdict().items() if name != "shape"}


def _written(network: Sequential, form: Callable[[CSRLinear], dict[str, np.ndarray]]) -> Any:
    """Return all arrays of a network whose weights are in one form."""
    arrays = {}
    for i, layer in enumerate(network.layers):
        if isinstance(layer, CSRLinear):
            arrays[f"{i}.bias"] = layer.params["bias"]
            arrays |= {f"{i}.{name}": part for name, part in form(layer).items()}
    return arrays


def _bytes(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """Count the bytes of arrays in memory, and of their zipped file."""
    return {
        "memory": sum(part.nbytes for part in arrays.values()),
        "disk": disk_bytes(arrays, compressed=True),
    }
