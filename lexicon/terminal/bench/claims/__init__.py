"""What is said of sparse networks, each settled by an experiment that can be run again.

A claim is a module here. Its docstring states the claim, what is run and, written before any run,
the tolerance that decides. What was measured is kept cell by cell, and the verdict is worked out
from it whenever it is shown: no page can say what the rows do not.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lexicon.catalog import Entry, find
from lexicon.terminal.bench.machine import describe
from lexicon.terminal.bench.sweep import finished_cells, run_sweep

__all__ = [
    "CLAIMS",
    "Claim",
    "Finding",
    "claim",
    "kept_rows",
    "listed",
    "measure_cell",
    "measure_claim",
    "points",
    "settle",
    "spread",
]

Rows = Sequence[tuple[dict[str, Any], dict[str, Any]]]

# In the order in which the questions come up.
CLAIMS: dict[str, list[str]] = {
    "What is commonly said": [
        "compute",
        "pruning",
        "balance",
        "winners",
        "masked_updates",
        "early_compute",
        "rewiring",
        "overfitting",
        "interpretability",
        "size",
        "speed",
        "structure",
        "iterations",
        "small_gradients",
        "silent_neurons",
        "regularization",
        "redistribution",
        "capacity",
    ],
    "What was published": [
        "set_fashion",
        "lenet_pruning",
        "lottery",
        "deep_compression",
        "rigl_flops",
    ],
}


@dataclass(frozen=True)
class Finding:
    """What the rows of an experiment say of a claim.

    Parameters
    ----------
    verdict : str
        ``holds``, ``does not hold``, or a condition that begins with ``holds only``.
    result : str
        One to three sentences with the numbers that decide.
    headings : tuple of str
        Of the table.
    table : list of tuple of str
        What was measured, averaged over seeds.
    """

    verdict: str
    result: str
    headings: tuple[str, ...]
    table: list[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Allow no fourth verdict."""
        if self.verdict not in ("holds", "does not hold") and not self.verdict.startswith(
            "holds only "
        ):
            raise ValueError(f"verdict must be one of three, got {self.verdict!r}")


@dataclass(frozen=True)
class Claim:
    """A claim and its experiment.

    Parameters
    ----------
    name : str
        Of its module.
    says : str
        The claim, Markdown.
    run : str
        What is run, Markdown.
    tolerance : str
        What decides, Markdown.
    concerns : list of Entry
        The entries on whose pages its verdict is shown.
    cells : list of dict
        What to measure, each once.
    timed : bool
        Whether seconds decide, so that nothing else may run beside a cell.
    measure : callable
        Measures a cell.
    judge : callable
        Given all cells with their results, returns a `Finding`.
    """

    name: str
    says: str
    run: str
    tolerance: str
    concerns: list[Entry]
    cells: list[dict[str, Any]]
    timed: bool
    measure: Callable[[dict[str, Any]], dict[str, Any]]
    judge: Callable[[Rows], Finding]


@cache
def claim(name: str) -> Claim:
    """Return a claim.

    Parameters
    ----------
    name : str
        One of `CLAIMS`.

    Returns
    -------
    Claim
        What its module says.
    """
    module = import_module(f"{__name__}.{name}")
    says, *run, tolerance = (getdoc(module) or "").split("\n\n")
    return Claim(
        name=name,
        says=" ".join(says.split()),
        run="\n\n".join(run),
        tolerance=tolerance,
        concerns=[find(slug) for slug in module.CONCERNS],
        cells=[{"claim": name, **cell} for cell in module.CELLS],
        timed=getattr(module, "TIMED", False),
        measure=module.measure,
        judge=module.judge,
    )


def measure_claim(claim: Claim, *, folder: Path, jobs: int, after_cell: Callable[[], None]) -> Rows:
    """Run what has not been run yet of a claim's experiment.

    Parameters
    ----------
    claim : Claim
        The claim.
    folder : Path
        Where finished cells are kept, in a file of the claim's name: what is found there is not
        run again.
    jobs : int
        How many cells run at once; one, where seconds decide.
    after_cell : callable
        Called once for each cell.

    Returns
    -------
    list of tuple of dict
        All cells with their results.
    """
    results = run_sweep(
        measure_cell,
        claim.cells,
        results=folder / f"{claim.name}.jsonl",
        jobs=1 if claim.timed else jobs,
        cluster=None,
        after_cell=after_cell,
    )
    return list(zip(claim.cells, results, strict=True))


def measure_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """Measure one cell of any claim.

    Parameters
    ----------
    cell : dict
        One of a claim's cells.

    Returns
    -------
    dict
        What the claim's module measures, and on what machine.
    """
    return claim(cell["claim"]).measure(cell) | describe()


def settle(claim: Claim, rows: Rows) -> Finding:
    """Judge a claim, in words for readers.

    Parameters
    ----------
    claim : Claim
        The claim.
    rows : list of tuple of dict
        All its cells with their results.

    Returns
    -------
    Finding
        With data sets called as on the pages, and a minus that is one.
    """

    def readable(text: str) -> str:
        text = text.replace("fashion-mnist", "Fashion-MNIST")
        text = re.sub(r"\b([Oo])(n|f) digits\b", r"\1\2 the digits", text)
        return re.sub(r"(?<![\w.])-(?=\d)", "−", text)

    found = claim.judge(rows)
    table = [tuple(map(readable, line)) for line in found.table]
    return Finding(readable(found.verdict), readable(found.result), found.headings, table)


def kept_rows(claim: Claim, folder: Path) -> Rows:
    """Read what has been measured of a claim.

    Parameters
    ----------
    claim : Claim
        The claim.
    folder : Path
        Where its cells are kept.

    Returns
    -------
    list of tuple of dict
        All cells with their results.

    Raises
    ------
    ValueError
        If a cell has not been measured.
    """
    path = folder / f"{claim.name}.jsonl"
    found = {json.dumps(cell, sort_keys=True): result for cell, result in finished_cells(path)}
    missing = [c for c in claim.cells if json.dumps(c, sort_keys=True) not in found]
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} of {len(claim.cells)} cells: {missing[0]}")
    return [(cell, found[json.dumps(cell, sort_keys=True)]) for cell in claim.cells]


def listed(parts: Sequence[str]) -> str:
    """Join with commas and a last "and".

    Parameters
    ----------
    parts : sequence of str
        At least one.

    Returns
    -------
    str
        Such as ``"80, 90 and 95"``.
    """
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def points(*differences: float) -> str:
    """Write by how much accuracies are above or below others.

    Parameters
    ----------
    *differences : float
        Of shares.

    Returns
    -------
    str
        Such as ``"1.5 and 0.2 points below"``.
    """
    sides = ["below" if difference < 0 else "above" for difference in differences]
    sizes = [f"{abs(100 * difference):.1f}" for difference in differences]
    if len(set(sides)) == 1:
        return f"{listed(sizes)} points {sides[0]}"
    return listed([f"{size} points {side}" for size, side in zip(sizes, sides, strict=True)])


def spread(values: Sequence[float], digits: int = 1, *, percent: bool = True) -> str:
    """Write a mean with its sample standard deviation.

    Parameters
    ----------
    values : sequence of float
        One of each seed.
    digits : int, default 1
        After the point.
    percent : bool, default True
        Whether the values are shares, to be written in per cent; the sign is the heading's.

    Returns
    -------
    str
        Such as ``"95.1 ± 0.4"``; without a deviation where there is one value.
    """
    factor = 100 if percent else 1
    mean = f"{factor * fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {factor * stdev(values):.{digits}f}"
