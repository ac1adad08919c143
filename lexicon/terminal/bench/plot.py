"""Draws a measurement's rows: what ``--plot`` writes, and the figures of the page *Measured*."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PLOTS", "MissingMatplotlibError", "svg", "write_plot"]

Rows = Sequence[dict[str, Any]]

# Okabe and Ito's colours, told apart by all kinds of colour vision, and readable on both palettes.
_BLUE, _ORANGE, _GREEN, _RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"


class MissingMatplotlibError(Exception):
    """Matplotlib is not installed."""


def svg(name: str, rows: Rows) -> str:
    """Draw rows as an SVG picture.

    Parameters
    ----------
    name : str
        Which of `PLOTS`.
    rows : sequence of dict
        What the measurement returned.

    Returns
    -------
    str
        An ``<svg>`` element, its lines and text black on nothing.

    Raises
    ------
    MissingMatplotlibError
        If Matplotlib is not installed.
    """
    with _axes() as (axes, picture):
        PLOTS[name](axes, rows)
    text = picture.getvalue()
    return text[text.index("<svg") :]


def write_plot(name: str, rows: Rows, path: Path) -> None:
    """Write a picture on a white ground to a file.

    Parameters
    ----------
    name : str
        Which of `PLOTS`.
    rows : sequence of dict
        What the measurement returned.
    path : Path
        Overwritten.
    """
    head, end, rest = svg(name, rows).partition(">")
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    path.write_text(f'<?xml version="1.0"?>\n{head}{end}{ground}{rest}', encoding="utf-8")


def _steps(axes: "Axes", rows: Rows) -> None:
    """Draw what sparse costs over what dense costs, in FLOPs, bytes and seconds."""
    dense = next(row for row in rows if row["contestant"] == "dense" and row["phase"] == "step")
    for contestant, style in (("csr", "-"), ("csr, equal rows", "--")):
        own = [row for row in rows if row["contestant"] == contestant and row["phase"] == "step"]
        own.sort(key=lambda row: row["sparsity"])
        density = [100 * (1 - row["sparsity"]) for row in own]
        equal = " (equal rows)" if style == "--" else ""
        ratios = {
            "seconds": (_RED, [100 / row["speedup_vs_dense"] for row in own]),
            "FLOPs": (_BLUE, [_percent(row, dense, "flops_per_step") for row in own]),
            "bytes": (_GREEN, [_percent(row, dense, "weight_bytes") for row in own]),
        }
        for name, (colour, values) in ratios.items():
            if style == "-" or name == "seconds":
                axes.plot(density, values, style, color=colour, marker="o", label=name + equal)
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="density, %", ylabel="of what dense costs, %")
    axes.set_xticks(density, [f"{d:g}" for d in density], minor=False)
    axes.set_yticks([1, 10, 100], ["1", "10", "100"], minor=False)
    axes.minorticks_off()
    axes.legend()


def _percent(row: dict[str, Any], dense: dict[str, Any], cost: str) -> float:
    return float(100 * row[cost] / dense[cost])


def _gradient(axes: "Axes", rows: Rows) -> None:
    """Draw the milliseconds of each way by density."""
    for pattern, contestant, style, colour in (
        ("random", "gathered", "-", _RED),
        ("equal rows", "gathered", "--", _ORANGE),
        ("random", "blocked", "-", _BLUE),
    ):
        own = [r for r in rows if r["pattern"] == pattern and r["contestant"] == contestant]
        label = contestant + (", equal rows" if style == "--" else "")
        density, seconds = [100 * r["density"] for r in own], [1e3 * r["median_s"] for r in own]
        axes.plot(density, seconds, style, color=colour, marker="o", label=label)
    axes.set(xlabel="density, %", ylabel="milliseconds")
    axes.set_ylim(bottom=0)
    axes.legend()


def _scale(axes: "Axes", rows: Rows) -> None:
    """Draw the seconds of a step, a rewiring and the set-up by connections."""
    rows = sorted(rows, key=lambda row: row["connections"])
    connections = [row["connections"] for row in rows]
    for key, label, colour in (
        ("step_s", "a training step", _RED),
        ("rewire_s", "a rewiring", _BLUE),
        ("setup_s", "set-up", _GREEN),
    ):
        axes.plot(connections, [row[key] for row in rows], "-o", color=colour, label=label)
    first, last = connections[0], connections[-1]
    start = rows[0]["step_s"]
    axes.plot(
        [first, last],
        [start, start * last / first],
        ":",
        color="black",
        label="in proportion to connections",
    )
    axes.set(xscale="log", yscale="log", xlabel="connections", ylabel="seconds")
    axes.legend()


def _accuracy(axes: "Axes", rows: Rows) -> None:
    """Draw final accuracy by density, with the standard deviation over seeds."""
    for contestant, colour, style in (("rewired", _RED, "-"), ("static", _BLUE, "--")):
        own = sorted(
            (row for row in rows if row["contestant"] == contestant),
            key=lambda row: row["sparsity"],
        )
        axes.errorbar(
            [100 * (1 - row["sparsity"]) for row in own],
            [100 * row["accuracy"] for row in own],
            [100 * row["accuracy_std"] for row in own],
            color=colour,
            linestyle=style,
            marker="o",
            capsize=3,
            label=contestant,
        )
    for row in rows:
        if row["contestant"] == "dense":
            mean, spread = 100 * row["accuracy"], 100 * row["accuracy_std"]
            axes.axhline(mean, color=_GREEN, label="dense")
            axes.axhspan(mean - spread, mean + spread, color=_GREEN, alpha=0.2, linewidth=0)
    densities = sorted({100 * (1 - row["sparsity"]) for row in rows} - {100.0})
    axes.set(xscale="log", xlabel="density, %", ylabel="test accuracy, %")
    axes.set_xticks(densities, [f"{density:.3g}" for density in densities], minor=False)
    axes.minorticks_off()
    axes.legend()


def _criteria(axes: "Axes", rows: Rows) -> None:
    """Draw each criterion's accuracy at the middle sparsity, at once and trained further."""
    rows = [row for row in rows if (row["start"], row["masks"]) == ("trained", "layer")]
    sparsities = sorted({row["sparsity"] for row in rows} - {0.0})
    sparsity = sparsities[len(sparsities) // 2]
    rows = [row for row in rows if row["sparsity"] in (0.0, sparsity)]
    criteria = list(dict.fromkeys(row["criterion"] for row in rows))
    names = dict.fromkeys(row["data"] for row in rows)
    for data, colour, offset in zip(names, (_RED, _BLUE), (-0.15, 0.15), strict=False):
        own = [row for row in rows if row["data"] == data]
        for read, when, filling in (
            ("at_once", "at once", "none"),
            ("trained", "trained on", colour),
        ):
            axes.errorbar(
                [100 * row[read] for row in own],
                [criteria.index(row["criterion"]) + offset for row in own],
                xerr=[100 * row[f"{read}_std"] for row in own],
                color=colour,
                linestyle="",
                marker="o",
                markerfacecolor=filling,
                capsize=2,
                label=f"{data}, {when}",
            )
    axes.set_yticks(range(len(criteria)), criteria)
    axes.invert_yaxis()
    axes.set(xlabel=f"test accuracy with {100 * (1 - sparsity):.3g} % of the weights, %")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)


def _structures(axes: "Axes", rows: Rows) -> None:
    """Draw the forward product's seconds over the dense one's, by density."""
    forward = [row for row in rows if row["phase"] == "forward" and row["sparsity"]]
    # Groups of n:m change their name with the density, and are one line.
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(forward, key=lambda row: row["sparsity"]):
        name = "n:m" if ":" in row["contestant"] else row["contestant"]
        lines.setdefault(name, []).append(row)
    styles = (
        (_RED, "-"), (_RED, "--"), (_RED, ":"), (_ORANGE, "-"),
        (_BLUE, "--"), (_BLUE, "-"), (_GREEN, "-"),
    )  # fmt: skip
    order = ("csr", "csr, equal rows", "condensed", "n:m", "blocks 4 × 4", "blocks 16 × 16")
    for name, (colour, style) in zip((*order, "smaller dense"), styles, strict=True):
        own = lines.get(name, [])
        density = [100 * (1 - row["sparsity"]) for row in own]
        seconds = [100 / row["speedup_vs_dense"] for row in own]
        axes.plot(density, seconds, style, color=colour, marker="o", label=name)
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="density, %", ylabel="seconds, % of dense")
    axes.set_yticks([1, 10, 100], ["1", "10", "100"], minor=False)
    axes.set_xticks(density, [f"{d:g}" for d in density], minor=False)
    axes.minorticks_off()
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")


def _attention(axes: "Axes", rows: Rows) -> None:
    """Draw the memory that attention takes by the length of the sequence."""
    for name, colour in (("dense", _BLUE), ("local", _RED), ("local + strided", _ORANGE)):
        own = [row for row in rows if row["contestant"] == name and row["peak_bytes"]]
        megabytes = [row["peak_bytes"] / 1e6 for row in own]
        axes.plot([row["tokens"] for row in own], megabytes, "-o", color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="megabytes at most")
    tokens = sorted({row["tokens"] for row in rows})
    axes.set_xticks(tokens, [f"{n:,}" for n in tokens], minor=False)
    axes.minorticks_off()
    axes.legend()


def _activations(axes: "Axes", rows: Rows) -> None:
    """Draw the seconds of a product over winners, over those of the dense one."""
    batches = sorted({row["batch"] for row in rows}, reverse=True)
    for batch, style in zip(batches, ("-", "--", ":", "-."), strict=False):
        for name, colour in (("csr", _RED), ("product", _BLUE)):
            own = [row for row in rows if row["batch"] == batch and row["contestant"] == name]
            share = [100 * row["active"] for row in own]
            seconds = [100 / row["speedup_vs_dense"] for row in own]
            label = f"{'finding and ' * (name == 'csr')}product, batch {batch}"
            axes.plot(share, seconds, style, color=colour, marker="o", label=label)
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="active, %", ylabel="seconds, % of dense")
    axes.set_yticks([1, 10, 100], ["1", "10", "100"], minor=False)
    axes.set_xticks(share, [f"{s:g}" for s in share], minor=False)
    axes.minorticks_off()
    axes.legend()


PLOTS: dict[str, Callable[["Axes", Rows], None]] = {
    "steps": _steps,
    "gradient": _gradient,
    "scale": _scale,
    "accuracy": _accuracy,
    "structures": _structures,
    "attention": _attention,
    "activations": _activations,
    "criteria": _criteria,
}


@contextmanager
def _axes() -> Iterator[tuple["Axes", StringIO]]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingMatplotlibError("--plot needs Matplotlib: pip install matplotlib") from error
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: selectable, and in the page's own font
        "svg.hashsalt": "lexicon",  # the same rows give the same file
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        picture = StringIO()
        yield figure.add_subplot(), picture
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
