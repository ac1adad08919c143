"""Iterative pruning with fine-tuning beats one-shot.

A dense network is trained (784-300-100-10 on 10,000 samples of Fashion-MNIST, 64-64-10 on the
digits) and pruned by magnitude, all layers ranked together. Iterative: five rounds, in each the
same share of what is left goes, and a fifth of the further training follows, whose learning rate
falls from 0.05 to zero in every round. One-shot removes as many weights in the first round. It then
trains in three ways: in the same rounds, without further cuts; in one go, with one fall of the
learning rate over as many epochs; and for long, with one fall over as many epochs as the FLOPs of
the iterative rounds pay for, since the epochs of a network that is sparse at once are cheaper. Five
seeds, three of Fashion-MNIST, whose network has more to spare and is pruned further.

Beaten is who ends more than 1 point of mean accuracy behind. The claim holds at a sparsity of a
data set if iterative pruning beats one-shot in all three ways. It holds if that is so everywhere,
and only there where it is so. Where it is so nowhere, it holds only for the same number of epochs
if one-shot is beaten in the first two ways. Otherwise it does not hold.
"""

from statistics import fmean
from typing import Any

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.prune_schedule import geometric, share_to_prune
from lexicon.terminal.bench.claims import Finding, Rows, listed, points, spread
from lexicon.terminal.bench.training import fit, load

CONCERNS = ("prune_schedule", "magnitude_prune", "fine_tuning")
CELLS = [
    {
        "data": data,
        "samples": samples,
        "sizes": sizes,
        "epochs": epochs,
        "rounds": 5,
        "sparsities": sparsities,
        "seed": seed,
    }
    for data, samples, sizes, epochs, sparsities, seeds in (
        ("digits", None, [64, 64, 10], 20, [0.9, 0.95, 0.98, 0.99], range(5, 10)),
        ("fashion-mnist", 10_000, [784, 300, 100, 10], 10, [0.9, 0.98, 0.99, 0.995], range(5, 8)),
    )
    for seed in seeds
]
CLEAR = 0.01
SAME_EPOCHS = ("in rounds", "in one go")
ONE_SHOT = (*SAME_EPOCHS, "for long")


def measure(cell: dict[str, Any]) -> dict[str, Any]:
    """Train, prune in rounds and at once, train each further."""
    rng = np.random.default_rng(cell["seed"])
    data = load(cell["data"], samples=cell["samples"], rng=rng)
    epochs, rounds = cell["epochs"], cell["rounds"]
    dense = mlp(cell["sizes"], rng=rng)
    found: dict[str, Any] = {"dense": fit(dense, data, epochs=epochs, rng=rng)[-1]}
    for sparsity in cell["sparsities"]:
        network, work = dense, 0.0
        for turn in range(1, rounds + 1):
            network = _cut(network, geometric(turn, start=0, end=rounds, final=sparsity))
            work += epochs / rounds * _connections(network)
            iterative = fit(network, data, epochs=epochs // rounds, rng=rng)[-1]
        longer = round(work / _connections(network))
        accuracies = [iterative]
        for times, each in ((rounds, epochs // rounds), (1, epochs), (1, longer)):
            network = _cut(dense, sparsity)
            reads = [fit(network, data, epochs=each, rng=rng)[-1] for _ in range(times)]
            accuracies.append(reads[-1])
        found[f"{sparsity:g}"] = {
            "epochs": longer,
            **dict(zip(("iterative", *ONE_SHOT), accuracies, strict=True)),
        }
    return found


def judge(rows: Rows) -> Finding:
    """Compare mean accuracies with the best of one-shot's."""
    table, most, of_epochs, of_flops = [], [], [], []
    ahead: dict[str, dict[str, list[str]]] = {"all": {}, "epochs": {}}
    names = list(dict.fromkeys(cell["data"] for cell, _ in rows))
    everywhere = {}
    for data in names:
        seeds = [result for cell, result in rows if cell["data"] == data]
        shares = [share for share in seeds[0] if share.startswith("0.")]
        everywhere[data] = [f"{100 * float(share):g}" for share in shares]
        for share in shares:
            reads = {way: [seed[share][way] for seed in seeds] for way in ("iterative", *ONE_SHOT)}
            lead = {way: fmean(reads["iterative"]) - fmean(reads[way]) for way in ONE_SHOT}
            for which, ways in (("all", ONE_SHOT), ("epochs", SAME_EPOCHS)):
                if min(lead[way] for way in ways) > CLEAR:
                    ahead[which].setdefault(data, []).append(f"{100 * float(share):g}")
            epochs = str(seeds[0][share]["epochs"])
            table.append((data, f"{100 * float(share):g}", *map(spread, reads.values()), epochs))
        most.append(f"{everywhere[data][-1]} % sparsity on {data}")
        of_epochs.append(min(lead[way] for way in SAME_EPOCHS))
        of_flops.append(lead["for long"])
    if ahead["all"] == everywhere:
        verdict = "holds"
    elif ahead["all"]:
        verdict = f"holds only {_places(ahead['all'])}"
    elif ahead["epochs"]:
        verdict = f"holds only for the same number of epochs, {_places(ahead['epochs'])}"
    else:
        verdict = "does not hold"
    result = (
        f"After pruning in rounds to {listed(most)}, accuracy is {points(*of_epochs)} that after "
        "one cut and as many epochs of training. If the one cut is followed by more epochs, until "
        f"as many FLOPs are spent, it is {points(*of_flops)}."
    )
    headings = ("data", "gone, %", "iterative, %", *(f"{way}, %" for way in ONE_SHOT), "epochs")
    return Finding(verdict, result, headings, table)


def _cut(network: Sequential, sparsity: float) -> Sequential:
    """Prune to a sparsity of all positions by magnitude."""
    scores = magnitude_scores(network)
    dense = any(score.ndim == 2 for score in scores.values())
    share = sparsity if dense else share_to_prune(network, sparsity)
    return prune_network(network, global_masks(scores, share))


def _connections(network: Sequential) -> int:
    """Count the weights."""
    return sum(score.size for score in magnitude_scores(network).values())


def _places(where: dict[str, list[str]]) -> str:
    """Say at which sparsities of which data."""
    return " and ".join(f"on {data} at {listed(gone)} % sparsity" for data, gone in where.items())
