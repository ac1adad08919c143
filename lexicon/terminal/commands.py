"""What the ``lexicon`` command understands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lexicon import __version__
from lexicon.catalog import CatalogError, Entry, chapters, entries, find
from lexicon.terminal.bench.commands import app as bench

if TYPE_CHECKING:
    from lexicon.terminal.tour import Row

app = typer.Typer(
    help="A lexicon of neural networks that runs: read a concept, run it, change it.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench, name="bench")

EntryName = Annotated[str, typer.Argument(metavar="ENTRY", help="An entry, such as k_wta.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command."""
    # A console that cannot show a formula's signs shows question marks; it does not crash.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app(prog_name="lexicon")


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    as_json: AsJson = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """List the chapters and entries."""
    if context.invoked_subcommand:
        return
    if version:
        typer.echo(f"lexicon {__version__}")
        return
    with _catalog_errors():
        if as_json:
            _print_json(
                [
                    {
                        "entry": entry.slug,
                        "chapter": entry.chapter,
                        "title": entry.title,
                        "summary": entry.summary,
                        "prerequisites": [other.slug for other in entry.prerequisites],
                    }
                    for entry in entries()
                ]
            )
        else:
            _print_overview()


@app.command()
def read(entry: EntryName) -> None:
    """Show an entry's page."""
    from rich.markdown import Markdown

    from lexicon.terminal.pages import terminal_page

    with _catalog_errors():
        page = Markdown(terminal_page(_find(entry)), hyperlinks=False)
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        # As git does: keep the colours, and do not page what fits on the screen.
        os.environ.setdefault("LESS", "FRX")
        with console.pager(styles=True):
            console.print(page)
    else:
        console.print(page)


@app.command()
def run(
    entry: EntryName,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KNOB=VALUE", help="Turn a knob; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run an entry's example; with a knob turned, mark the lines that changed."""
    from lexicon.terminal.examples import changed_lines, parse_settings, run_command, run_example

    with _catalog_errors():
        chosen = _find(entry)
        try:
            values = parse_settings(chosen, settings or [])
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--set") from error
    try:
        default = run_example(chosen)
        turned = run_example(chosen, values) if values else default
    except subprocess.TimeoutExpired as error:
        typer.echo(f"lexicon: {chosen.slug} was ended after {error.timeout:.0f} seconds", err=True)
        raise typer.Exit(1) from error
    if turned.exit_code:
        typer.echo(turned.errors, err=True, nl=False)
        raise typer.Exit(1)
    changed = changed_lines(default.output, turned.output)
    if as_json:
        named = {knob.name: value for knob, value in values.items()}
        _print_json({"settings": named, "output": turned.output, "changed": changed})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(chosen.question, style="bold", markup=False, soft_wrap=False)
    for line, is_changed in zip(turned.output.splitlines(), changed, strict=True):
        marker = "> " if is_changed else "  "
        console.print(
            (marker if values else "") + line, style="green" if is_changed else None, markup=False
        )
    if values:
        console.print("> marks what differs from the default run", style="dim", markup=False)
    else:
        for knob in chosen.knobs:
            command = run_command(chosen, knob, knob.tries[0])
            console.print(f"{command}   {knob.hint}", style="dim", markup=False)


@app.command()
def tour(
    seeds: Annotated[int, typer.Option(min=1, help="Over how many seeds to average.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Train eight networks on real digits, from dense to rewired, and compare them."""
    from dataclasses import asdict

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lexicon.terminal.tour import MODELS, run_tour, what_to_notice

    errors = Console(stderr=True)
    columns = (TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=len(MODELS) * seeds)
        rows = run_tour(
            seeds=seeds,
            before=lambda model: bar.update(task, description=model),
            after=lambda: bar.advance(task),
        )
    if as_json:
        _print_json([asdict(row) for row in rows])
        return
    console = Console(highlight=False)
    console.print(_table(rows, spread=seeds > 1))
    for sentence in what_to_notice(rows):
        console.print(f"• {sentence}", markup=False)


def _find(name: str) -> Entry:
    try:
        return find(name)
    except KeyError as error:
        raise typer.BadParameter(error.args[0], param_hint="ENTRY") from error


def _print_overview() -> None:
    console = Console(highlight=False)
    for chapter, description in chapters().items():
        console.print(f"\n[bold]{description}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True, min_width=27)
        table.add_column()
        for entry in entries(chapter):
            table.add_row(entry.slug, entry.title)
        console.print(table)
    console.print("\nStart with  lexicon tour  or  lexicon read neuron")
    console.print("Then turn a knob:  lexicon run k_wta --set K=1")


def _table(rows: "list[Row]", *, spread: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("accuracy", "connections", "bytes", "FLOPs", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.model,
            f"{row.accuracy:.3f}" + (f" ± {row.accuracy_std:.3f}" if spread else ""),
            f"{row.connections:,}",
            f"{row.bytes:,}",
            f"{row.flops_per_sample:,}",
            f"{row.seconds:.2f}",
        )
    return table


@contextmanager
def _catalog_errors() -> Iterator[None]:
    try:
        yield
    except CatalogError as error:
        typer.echo(f"lexicon: {error}", err=True)
        raise typer.Exit(1) from error


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
