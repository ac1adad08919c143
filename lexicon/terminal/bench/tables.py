"""Turns a measurement's rows into a table, for the terminal and for the page *Measured*."""

from collections.abc import Callable, Sequence
from typing import Any

from lexicon.sparsity.sparse_vs_dense import crossover

__all__ = ["TABLES", "crossings", "markdown"]

Rows = Sequence[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]


def markdown(name: str, rows: Rows) -> str:
    """Write a table for a page.

    Parameters
    ----------
    name : str
        Which of `TABLES`.
    rows : sequence of dict
        What the measurement returned.

    Returns
    -------
    str
        The first column to the left, the others to the right.
    """
    headings, cells = TABLES[name](rows)
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def crossings(rows: Rows) -> dict[str, str]:
    """Say from which sparsity on each CSR network's step is faster than the dense one's.

    Parameters
    ----------
    rows : sequence of dict
        What `measure_steps` returned.

    Returns
    -------
    dict of str to str
        A few words by contestant.
    """
    found = {}
    for contestant in ("csr", "csr, equal rows"):
        own = [row for row in rows if row["contestant"] == contestant and row["phase"] == "step"]
        ratios = [1 / row["speedup_vs_dense"] for row in own]
        meets = crossover([row["sparsity"] for row in own], ratios)
        if meets is not None:
            found[contestant] = f"faster than dense from {100 * meets:.1f} % sparsity on"
        elif ratios[-1] < 1:
            found[contestant] = "faster than dense at every sparsity measured"
        else:
            found[contestant] = "not faster than dense at the highest sparsity measured"
    return found


def _steps(rows: Rows) -> Table:
    cells: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["contestant"], row["sparsity"]), {})[row["phase"]] = row
    return (
        ["contestant", "sparsity", "MB", "step, ms", "range", "forward", "backward", "speed-up"],
        [
            [
                contestant,
                f"{100 * sparsity:g} %" if sparsity else "",
                f"{own['step']['weight_bytes'] / 1e6:.2f}",
                _ms(own["step"]["median_s"]),
                _range(own["step"]),
                _ms(own["forward"]["median_s"]),
                _ms(own["backward"]["median_s"]),
                f"{own['step']['speedup_vs_dense']:.2f} ×",
            ]
            for (contestant, sparsity), own in cells.items()
        ],
    )


def _gradient(rows: Rows) -> Table:
    return (
        ["positions", "density", "gathered, ms", "range", "blocked, ms", "range", "chosen"],
        [
            [
                one["pattern"],
                f"{100 * one['density']:g} %",
                _ms(one["median_s"]),
                _range(one),
                _ms(two["median_s"]),
                _range(two),
                (one if one["chosen"] else two)["contestant"],
            ]
            for one, two in zip(rows[::2], rows[1::2], strict=True)
        ],
    )


def _scale(rows: Rows) -> Table:
    return (
        ["neurons", "connections", "set-up, s", "step, s", "rewiring, s", "peak, MB", "data, MB"],
        [
            [
                f"{row['neurons']:,}",
                f"{row['connections']:,}",
                f"{row['setup_s']:.2f}",
                f"{row['step_s']:.3f}",
                f"{row['rewire_s']:.3f}",
                f"{row['peak_mb']:,.0f}",
                f"{row['data_mb']:,.0f}",
            ]
            for row in rows
        ],
    )


def _accuracy(rows: Rows) -> Table:
    return (
        [
            "contestant",
            "sparsity",
            "accuracy, %",
            "seconds",
            f"to {100 * rows[0]['target']:g} %",
            "MFLOP",
            "MB",
        ],
        [
            [
                row["contestant"],
                f"{100 * row['sparsity']:g} %" if row["sparsity"] else "",
                f"{100 * row['accuracy']:.2f} ± {100 * row['accuracy_std']:.2f}",
                f"{row['seconds']:.0f}",
                "not by all"
                if row["seconds_to_target"] is None
                else f"{row['seconds_to_target']:.0f}",
                f"{row['flops_per_sample'] / 1e6:.2f}",
                f"{row['weight_bytes'] / 1e6:.2f}",
            ]
            for row in rows
        ],
    )


def _criteria(rows: Rows) -> Table:
    sparsities = sorted({row["sparsity"] for row in rows} - {0.0})
    cells = []
    for (data, start, masks, read), heading in _criteria_groups(rows).items():
        cells.append([heading, *[""] * len(sparsities)])
        own = [r for r in rows if (r["data"], r["start"], r["masks"]) == (data, start, masks)]
        for criterion in dict.fromkeys(row["criterion"] for row in own):
            found = {
                row["sparsity"]: f"{100 * row[read]:.1f} ± {100 * row[f'{read}_std']:.1f}"
                for row in own
                if row["criterion"] == criterion
            }
            if criterion == "dense":  # which has no sparsity, so no column of its own
                cells.append(["dense, 0 %", found[0.0], *[""] * (len(sparsities) - 1)])
            else:
                cells.append([criterion, *(found[sparsity] for sparsity in sparsities)])
    return ["criterion", *(f"{100 * sparsity:g} %" for sparsity in sparsities)], cells


def _criteria_groups(rows: Rows) -> dict[tuple[str, str, str, str], str]:
    """Name the parts of the table: what was read of which networks."""
    groups = {}
    for row in rows:
        own = ", own masks" if row["masks"] == "own" else ""
        if row["start"] == "trained":
            for read, when in (("at_once", "at once"), ("trained", "trained on")):
                groups[row["data"], "trained", row["masks"], read] = f"{row['data']}{own}, {when}"
        else:
            groups[row["data"], "untrained", row["masks"], "trained"] = (
                f"{row['data']}{own}, from scratch"
            )
    return groups


def _structures(rows: Rows) -> Table:
    return (
        ["contestant", "sparsity", "MB", "MFLOP", "forward, ms", "range", "backward", "speed-up"],
        [
            [
                forward["contestant"],
                f"{100 * forward['sparsity']:g} %" if forward["sparsity"] else "",
                f"{forward['weight_bytes'] / 1e6:.2f}",
                f"{forward['forward_flops'] / 1e6:.1f}",
                _ms(forward["median_s"]),
                _range(forward),
                _ms(backward["median_s"]),
                f"{forward['speedup_vs_dense']:.2f} ×",
            ]
            for forward, backward in zip(rows[::2], rows[1::2], strict=True)
        ],
    )


def _attention(rows: Rows) -> Table:
    return (
        ["attention", "tokens", "pairs", "peak, MB", "step, ms", "range", "speed-up"],
        [
            [
                row["contestant"],
                f"{row['tokens']:,}",
                f"{row['pairs']:,}",
                *(
                    ("does not fit", "", "")
                    if row["peak_bytes"] is None
                    else (f"{row['peak_bytes'] / 1e6:,.1f}", _ms(row["median_s"]), _range(row))
                ),
                f"{row['speedup_vs_dense']:.2f} ×" if row["speedup_vs_dense"] else "",
            ]
            for row in rows
        ],
    )


def _activations(rows: Rows) -> Table:
    cells: dict[tuple[int, float], dict[str, dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["batch"], row["active"]), {})[row["contestant"]] = row
    return (
        ["batch", "active", "dense, ms", "csr, ms", "finding", "product", "k-WTA", "speed-up"],
        [
            [
                f"{batch}",
                f"{100 * active:g} %",
                *(
                    f"{1e3 * own[way]['median_s']:.3f}"
                    for way in ("dense", "csr", "finding", "product", "choosing")
                ),
                f"{own['csr']['speedup_vs_dense']:.2f} ×",
            ]
            for (batch, active), own in cells.items()
        ],
    )


TABLES: dict[str, Callable[[Rows], Table]] = {
    "steps": _steps,
    "gradient": _gradient,
    "scale": _scale,
    "accuracy": _accuracy,
    "structures": _structures,
    "attention": _attention,
    "activations": _activations,
    "criteria": _criteria,
}


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}"


def _range(row: dict[str, Any]) -> str:
    return f"{1e3 * row['min_s']:.1f}–{1e3 * row['max_s']:.1f}"
