"""What ``lexicon bench`` understands."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lexicon.terminal.help import examples

app = typer.Typer(help="Measure dense against sparse, fairly, on this machine.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the result.")
]
Threads = Annotated[int, typer.Option(min=1, help="How many threads the products may use.")]
Width = Annotated[int, typer.Option(min=10, help="Neurons of each hidden layer.")]
Batch = Annotated[int, typer.Option(min=1, help="Samples of a training step.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each contestant is timed.")]
Sparsities = Annotated[
    list[float] | None,
    typer.Option("--sparsity", metavar="S", help="Between 0 and 1; may be repeated."),
]


@app.callback(
    invoke_without_command=True,
    epilog=examples("bench", "bench --sparsity 0.9 --width 2000", "bench --plot steps.svg"),
)
def steps(
    context: typer.Context,
    sparsity: Sparsities = None,
    width: Width = 1000,
    batch: Batch = 128,
    threads: Threads = 1,
    rounds: Rounds = 15,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Time training steps of dense, masked and CSR networks in turns."""
    if context.invoked_subcommand:
        return
    from lexicon.terminal.bench.steps import WARM_UP, measure_steps
    from lexicon.terminal.screen import console

    sparsities = _checked(sparsity or [0.8, 0.9, 0.95, 0.98, 0.99])
    with _refusals(), _progress(WARM_UP + rounds) as advance:
        rows = measure_steps(
            sparsities,
            width=width,
            batch=batch,
            threads=threads,
            rounds=rounds,
            after_round=lambda: advance("rounds"),
        )
    if _finish("steps", rows, plot, as_json):
        return
    from lexicon.terminal.bench.tables import crossings

    for contestant, verdict in crossings(rows).items():
        console().print(f"{contestant}: {verdict}")
    _print_circumstances(rows[0], f"{rounds} rounds in turns: median, fastest–slowest")


@app.command(epilog=examples("bench gradient", "bench gradient --width 2000 --threads 2"))
def gradient(
    width: Width = 1000,
    batch: Batch = 128,
    threads: Threads = 1,
    rounds: Rounds = 9,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Time the ways to a sampled gradient against each other."""
    from lexicon.terminal.bench.gradient import DENSITIES, measure_gradient

    with _refusals(), _progress(len(DENSITIES)) as advance:
        rows = measure_gradient(
            width=width,
            batch=batch,
            threads=threads,
            rounds=rounds,
            after_density=lambda: advance("densities"),
        )
    if _finish("gradient", rows, plot, as_json):
        return
    _print_circumstances(rows[0], f"{rounds} rounds in turns: median, fastest–slowest")


@app.command(epilog=examples("bench scale", "bench scale --neurons 1000000"))
def scale(
    neurons: Annotated[
        list[int] | None,
        typer.Option(min=3, help="Hidden neurons, in three layers; may be repeated. [1000000]"),
    ] = None,
    epsilon: Annotated[
        float, typer.Option(min=0.01, help="Connections for each input and output of a layer.")
    ] = 5.0,
    batch: Batch = 128,
    threads: Threads = 2,
    rounds: Rounds = 3,
    rewirings: Annotated[int, typer.Option(min=1, help="How many rewirings.")] = 2,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Build, train and rewire very wide sparse networks.

    Each runs in a process of its own, so that its memory is its own.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from lexicon.terminal.bench.scale import measure_scale
    from lexicon.terminal.screen import console

    sizes = neurons or [1_000_000]
    measure = partial(
        measure_scale,
        epsilon=epsilon,
        batch=batch,
        threads=threads,
        rounds=rounds,
        rewirings=rewirings,
    )
    rows = []
    with (
        _refusals(),
        _progress(len(sizes)) as advance,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        for size in sizes:
            rows.append(pool.submit(measure, size).result())
            advance("networks")
    if _finish("scale", rows, plot, as_json):
        return
    console().print(
        "peak: the most memory that the process held; data: what it held before the network"
    )
    _print_circumstances(rows[0], f"medians of {rounds} steps")


@app.command(
    "accuracy",
    epilog=examples("bench accuracy", "bench accuracy --data fashion-mnist --jobs 2"),
)
def accuracy_(
    data: Annotated[str, typer.Option(help="digits, fashion-mnist or mnist.")] = "fashion-mnist",
    sparsity: Sparsities = None,
    contestant: Annotated[
        list[str] | None,
        typer.Option(help="dense, static or rewired; may be repeated. All, if not given."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 30,
    target: Annotated[float, typer.Option(min=0, max=1, help="The accuracy to time.")] = 0.88,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once on this machine.")] = 1,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Train on a Dask cluster instead.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps finished trainings. [accuracy-DATA.jsonl]"),
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Train dense, static and rewired networks to the end.

    All have the same number of epochs and the same schedule. Finished trainings are kept in a file:
    run the same command again and it continues there.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    from lexicon.terminal.bench.accuracy import CONTESTANTS, DATA, measure_accuracy, summarise
    from lexicon.terminal.bench.sweep import ClusterError
    from lexicon.terminal.screen import console

    contestants = contestant or list(CONTESTANTS)
    for given, allowed, option in (
        ([data], DATA, "--data"),
        (contestants, CONTESTANTS, "--contestant"),
    ):
        for name in given:
            if name not in allowed:
                raise typer.BadParameter(
                    f"{name!r} is none of {', '.join(allowed)}", param_hint=option
                )
    sparsities = _checked(sparsity or [0.9, 0.955, 0.98])
    kept = results or Path(f"accuracy-{data}.jsonl")
    cells = seeds * sum(1 if name == "dense" else len(sparsities) for name in contestants)
    try:
        with _refusals(), _progress(cells) as advance:
            trainings = measure_accuracy(
                data,
                contestants=contestants,
                sparsities=sparsities,
                seeds=seeds,
                epochs=epochs,
                jobs=jobs,
                cluster=cluster,
                results=kept,
                after_cell=lambda: advance("trainings"),
            )
    except ClusterError as error:
        typer.echo(f"lexicon: {error}", err=True)
        raise typer.Exit(1) from error
    except TerminatedWorkerError as error:
        typer.echo(
            f"lexicon: a worker died; what had finished is in {kept}: run this again to go on",
            err=True,
        )
        raise typer.Exit(1) from error
    rows = summarise(trainings, target)
    if _finish("accuracy", rows, plot, as_json):
        return
    console().print(
        f"test accuracy after the last of {epochs} epochs, mean ± standard deviation of {seeds} "
        f"seeds; MFLOP of a training step for one sample"
    )
    if jobs > 1:
        console().print(
            f"{jobs} trainings ran at once: their seconds are longer than those of one alone"
        )
    _print_circumstances(rows[0], "one thread each")


def _checked(sparsities: list[float]) -> list[float]:
    for sparsity in sparsities:
        if not 0 < sparsity < 1:
            raise typer.BadParameter(
                f"{sparsity:g} is not between 0 and 1", param_hint="--sparsity"
            )
    return sorted(set(sparsities))


@contextmanager
def _refusals() -> Iterator[None]:
    from lexicon.terminal.bench.machine import TooLargeError

    try:
        yield
    except TooLargeError as error:
        typer.echo(f"lexicon: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on standard error, and give what moves it on by one."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from lexicon.terminal.screen import console

    errors = console(stderr=True)
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def advance(description: str) -> None:
            bar.update(task, description=description, advance=1)

        yield advance


def _finish(name: str, rows: list[dict[str, Any]], plot: Path | None, as_json: bool) -> bool:
    """Draw, and print JSON or a table; return whether that is all there is to say."""
    from lexicon.terminal.screen import console

    for row in rows:
        row["command"] = _command()
    if plot:
        from lexicon.terminal.bench.plot import MissingMatplotlibError, write_plot

        try:
            write_plot(name, rows, plot)
        except MissingMatplotlibError as error:
            typer.echo(f"lexicon: {error}", err=True)
            raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return True
    from lexicon.terminal.bench.tables import TABLES

    headings, cells = TABLES[name](rows)
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    console().print(table)
    return False


def _command() -> str:
    """Return the command that was given, without where its result should go."""
    kept, words = [], iter(sys.argv[1:])
    for word in words:
        if word in ("--plot", "--results"):
            next(words, None)
        elif word != "--json":
            kept.append(word)
    return shlex.join(["lexicon", *kept])


def _print_circumstances(row: dict[str, Any], how: str) -> None:
    from lexicon.terminal.screen import console

    screen = console()
    threads = f"; {row['threads']} thread{'s' * (row['threads'] > 1)}" if "threads" in row else ""
    screen.print(f"{how}{threads}", style="dim")
    screen.print(f"{row['machine']}; {row['versions']}; {row['date']}", style="dim")
