"""What ``lexicon bench`` understands."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
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
    from lexicon.terminal.bench.steps import measure_steps
    from lexicon.terminal.bench.turns import WARM_UP
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
    from lexicon.terminal.bench.accuracy import CONTESTANTS, measure_accuracy, summarise
    from lexicon.terminal.bench.sweep import ClusterError
    from lexicon.terminal.bench.training import DATA
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
        with _refusals(), _kept_in(kept), _progress(cells) as advance:
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


@app.command("criteria", epilog=examples("bench criteria", "bench criteria --data digits"))
def criteria_(
    data: Annotated[
        list[str] | None,
        typer.Option(help="digits or fashion-mnist; may be repeated. Both, if not given."),
    ] = None,
    sparsity: Sparsities = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks of each.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once on this machine.")] = 1,
    results: Annotated[Path, typer.Option(metavar="FILE", help="Keeps finished trainings.")] = Path(
        "criteria.jsonl"
    ),
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Let every pruning criterion choose from the same networks.

    Finished trainings are kept in a file: run the same command again and it continues there.
    """
    from lexicon.terminal.bench.criteria import (
        SETTINGS,
        criteria_cells,
        measure_criteria,
        summarise,
    )
    from lexicon.terminal.screen import console

    names = list(dict.fromkeys(data or SETTINGS))
    for name in names:
        if name not in SETTINGS:
            raise typer.BadParameter(
                f"{name!r} is none of {', '.join(SETTINGS)}", param_hint="--data"
            )
    sparsities = _checked(sparsity or [0.8, 0.9, 0.95, 0.98])
    cells = len(criteria_cells(names, sparsities=sparsities, seeds=seeds))
    with _kept_in(results), _progress(cells) as advance:
        found = measure_criteria(
            names,
            sparsities=sparsities,
            seeds=seeds,
            jobs=jobs,
            results=results,
            after_cell=lambda: advance("criteria"),
        )
    rows = summarise(found)
    if _finish("criteria", rows, plot, as_json):
        return
    console().print(
        f"test accuracy, %, mean ± standard deviation of {seeds} seeds: of a trained network as "
        f"soon as it is pruned, of the same one trained on, and of one that is pruned before it is "
        f"trained. Every layer loses the same share; own masks: as the criterion was published"
    )
    _print_circumstances(rows[0], "one thread each")


@app.command(epilog=examples("bench structures", "bench structures --width 4096 --sparsity 0.9375"))
def structures(
    sparsity: Sparsities = None,
    width: Width = 1024,
    batch: Batch = 128,
    threads: Threads = 1,
    rounds: Rounds = 15,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Time one layer in every storage that sparse weights can have.

    Of 50, 75, 87.5 % and so on, groups of n:m make the exact share; of others they may not.
    """
    from lexicon.terminal.bench.structures import MULTIPLE, measure_structures
    from lexicon.terminal.bench.turns import WARM_UP

    if width % MULTIPLE:
        raise typer.BadParameter(f"{width} is no multiple of {MULTIPLE}", param_hint="--width")
    sparsities = _checked(sparsity or [0.5, 0.75, 0.875, 0.9375, 0.96875])
    with _refusals(), _progress(WARM_UP + rounds) as advance:
        rows = measure_structures(
            sparsities,
            width=width,
            batch=batch,
            threads=threads,
            rounds=rounds,
            after_round=lambda: advance("rounds"),
        )
    if _finish("structures", rows, plot, as_json):
        return
    from lexicon.terminal.screen import console

    console().print("MFLOP and speed-up: of the forward product")
    _print_circumstances(rows[0], f"{rounds} rounds in turns: median, fastest–slowest")


@app.command(epilog=examples("bench attention", "bench attention --memory 2 --window 128"))
def attention(
    tokens: Annotated[
        list[int] | None,
        typer.Option(
            min=2, help="Length of the sequence; may be repeated. [256, 512, … while dense fits]"
        ),
    ] = None,
    features: Annotated[int, typer.Option(min=1, help="Of a query, a key and a value.")] = 64,
    window: Annotated[int, typer.Option(min=1, help="How far to look, to each side.")] = 64,
    memory: Annotated[
        float, typer.Option(min=0.001, metavar="GB", help="What dense may take.")
    ] = 3.0,
    threads: Threads = 1,
    rounds: Rounds = 5,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Time attention over all pairs and over chosen ones.

    Counted too: the most memory that each allocates.
    """
    from lexicon.terminal.bench.attention import lengths, measure_attention
    from lexicon.terminal.bench.machine import require_memory
    from lexicon.terminal.screen import console

    limit = round(1e9 * memory)
    sizes = sorted(set(tokens or lengths(limit, features)))
    rows = []
    with _refusals(), _progress(len(sizes)) as advance:
        require_memory(limit, "dense attention", lambda free: f"--memory {free // 10**9} would fit")
        for size in sizes:
            rows += measure_attention(
                size, features=features, window=window, limit=limit, threads=threads, rounds=rounds
            )
            advance("sequences")
    if _finish("attention", rows, plot, as_json):
        return
    console().print(
        f"forward and backward, of {features} features; peak: the most that was allocated beside "
        f"the input; dense may take {limit / 1e9:,.1f} GB"
    )
    _print_circumstances(rows[0], f"{rounds} rounds in turns: median, fastest–slowest")


@app.command(epilog=examples("bench activations", "bench activations --width 4000 --batch 1"))
def activations(
    width: Width = 1000,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Samples of a product; may be repeated. [128, 1]"),
    ] = None,
    threads: Threads = 1,
    rounds: Rounds = 15,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Time the product after k-WTA, with zeros and without."""
    from lexicon.terminal.bench.activations import SHARES, measure_activations
    from lexicon.terminal.screen import console

    batches = batch or [128, 1]
    with _refusals(), _progress(len(batches) * len(SHARES)) as advance:
        rows = measure_activations(
            batches,
            width=width,
            threads=threads,
            rounds=rounds,
            after_share=lambda: advance("shares"),
        )
    if _finish("activations", rows, plot, as_json):
        return
    console().print(
        "csr: finding what is not zero, then the product; k-WTA itself comes before either"
    )
    _print_circumstances(rows[0], f"{rounds} rounds in turns: median, fastest–slowest")


@app.command("claims", epilog=examples("bench claims pruning", "bench claims --jobs 2"))
def claims_(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLAIM", help="Which; all, if none is given."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at once on this machine.")] = 1,
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Keeps what has been measured.")
    ] = Path("claims"),
    as_json: AsJson = False,
) -> None:
    """Settle what is said of sparse networks.

    What has been measured is kept in a folder: run the same command again and it continues there.
    """
    from lexicon.terminal.bench.claims import CLAIMS, claim, measure_claim, settle
    from lexicon.terminal.screen import console

    known = [name for group in CLAIMS.values() for name in group]
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="CLAIM")
    chosen = [claim(name) for name in names or known]
    results.mkdir(parents=True, exist_ok=True)
    cells = sum(len(each.cells) for each in chosen)
    with _kept_in(results), _progress(cells) as advance:
        rows = [
            measure_claim(each, folder=results, jobs=jobs, after_cell=partial(advance, each.name))
            for each in chosen
        ]
    findings = [settle(each, own) for each, own in zip(chosen, rows, strict=True)]
    if as_json:
        found = [
            {"claim": each.name, "says": each.says, **asdict(finding)}
            for each, finding in zip(chosen, findings, strict=True)
        ]
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for each, finding in zip(chosen, findings, strict=True):
        console().print(f"\n{each.says}", style="bold", highlight=False)
        verdict = finding.verdict[0].upper() + finding.verdict[1:]
        console().print(f"{verdict}. {finding.result}", highlight=False)
        _print_table(finding.headings, finding.table)


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
def _kept_in(results: Path) -> Iterator[None]:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        yield
    except TerminatedWorkerError as error:
        typer.echo(
            f"lexicon: a worker died; what had finished is in {results}: run this again to go on",
            err=True,
        )
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
    _print_table(headings, cells)
    return False


def _print_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from lexicon.terminal.screen import console

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, (heading, *column) in enumerate(zip(headings, *cells, strict=True)):
        # A heading may take several lines, a number may not.
        width = max(map(len, [*column, *heading.split()]))
        table.add_column(heading, justify="left" if number == 0 else "right", min_width=width)
    for line in cells:
        table.add_row(*line)
    console().print(table)


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
