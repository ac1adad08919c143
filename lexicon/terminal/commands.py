"""What the ``lexicon`` command understands."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from lexicon import __version__
from lexicon.catalog import SECTIONS, CatalogError, Entry, chapters, entries, find
from lexicon.terminal.bench.commands import app as bench
from lexicon.terminal.help import (
    complete_entry,
    complete_entry_or_chapter,
    complete_setting,
    complete_sweep,
    examples,
    mend_words,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lexicon.terminal.progress import Answers
    from lexicon.terminal.tour import Row

app = typer.Typer(
    help="A lexicon of neural networks that runs: read a concept, run it, change it.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: as legible at 60 columns, in a pipe, read aloud
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench, name="bench")

EntryName = Annotated[
    str,
    typer.Argument(metavar="ENTRY", help="An entry, such as k_wta.", autocompletion=complete_entry),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0.1, help="When to end a run."),
]
Section = Literal["what", "why", "how", "run", "pitfalls", "check", "related"]


def main() -> None:
    """Run the command."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the shell has closed it
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    # A console that cannot show a formula's signs shows question marks; it does not crash.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    mend_words()
    try:
        app(prog_name="lexicon")
    except OSError as error:  # a full disk behind a pipe, a folder that has vanished
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        # What is left to be written would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@app.callback(
    invoke_without_command=True,
    epilog=examples("tour", "read k_wta", "run k_wta --set K=1", "observe k_wta", "quiz"),
)
def overview(
    context: typer.Context,
    as_json: AsJson = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """List the entries, what you have finished, and what to learn next."""
    if context.invoked_subcommand:
        return
    if version:
        typer.echo(f"lexicon {__version__}")
        return
    from lexicon.terminal.learning import is_finished, is_unlocked

    with _catalog_errors():
        answers = _answers()
        if as_json:
            _print_json(
                [
                    {
                        "entry": entry.slug,
                        "chapter": entry.chapter,
                        "title": entry.title,
                        "summary": entry.summary,
                        "prerequisites": [other.slug for other in entry.prerequisites],
                        "unlocked": is_unlocked(entry, answers),
                        "finished": is_finished(entry, answers),
                    }
                    for entry in entries()
                ]
            )
        else:
            _print_overview(answers)


@app.command(epilog=examples("read k_wta", "read k_wta --section pitfalls", "read mask | less"))
def read(
    entry: EntryName,
    section: Annotated[Section | None, typer.Option(help="Show only this section.")] = None,
) -> None:
    """Show an entry's page."""
    from lexicon.terminal.drawing import Page
    from lexicon.terminal.pages import section as section_of
    from lexicon.terminal.pages import terminal_page
    from lexicon.terminal.screen import WIDEST, console

    screen = console()
    screen.width = min(screen.width, WIDEST)
    with _catalog_errors():
        page = terminal_page(_find(entry), width=screen.width - 2)
        if section:
            heading = dict(zip(get_args(Section), SECTIONS, strict=True))[section]
            page = section_of(page, heading)
        with screen.capture() as capture:
            screen.print(Page(page))
    drawn = "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()) + "\n"
    pager = shlex.split(os.environ.get("PAGER") or "less")
    long = drawn.count("\n") >= screen.height
    if screen.is_terminal and not screen.is_dumb_terminal and long and shutil.which(pager[0]):
        from pydoc import pipepager

        # `less` has to keep the colours, and to know the signs whatever the locale says.
        os.environ["LESS"] = f"{os.environ.get('LESS', '')} -R"
        os.environ["LESSCHARSET"] = "utf-8"
        pipepager(drawn, shlex.join(pager))
    else:
        sys.stdout.write(drawn)


@app.command(
    epilog=examples("run k_wta", "run k_wta --set K=1 --set SEED=2", "run k_wta --sweep K=1,2,5,20")
)
def run(
    entry: EntryName,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KNOB=VALUE",
            help="Turn a knob; may be repeated.",
            autocompletion=complete_setting,
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB=V,V...",
            help="Run once for each value, and tabulate.",
            autocompletion=complete_sweep,
        ),
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Print the example instead of running it.")
    ] = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Run an entry's example, and show what a turned knob changes."""
    from lexicon.terminal.differences import changed_lines, comparison, tabulated
    from lexicon.terminal.examples import (
        parse_settings,
        parse_sweep,
        run_command,
        run_examples,
        setting_name,
        turned_source,
    )
    from lexicon.terminal.screen import console

    with _catalog_errors():
        chosen = _find(entry)
        try:
            values = parse_settings(chosen, settings or [])
            if sweep and len(sweep) > 1:
                raise ValueError("only one knob can be swept at a time")
            swept = parse_sweep(chosen, sweep[0]) if sweep else None
            if swept and swept[0] in values:
                raise ValueError(f"{swept[0].name} is both set and swept")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if source and (sweep or as_json):
        raise typer.BadParameter("--source goes with --set only")
    screen, errors = console(), console(stderr=True)
    if source:
        text = turned_source(chosen, values)
        if screen.is_terminal:
            from lexicon.terminal.drawing import code

            screen.print(code(text), soft_wrap=True)
        else:
            sys.stdout.write(text)
        return
    if swept:
        knob, tries = swept
        wanted = [{**values, knob: value} for value in tries]
    else:
        wanted = [{}, values] if values else [{}]
    with errors.status("running") if errors.is_terminal else nullcontext():
        runs = run_examples(chosen, wanted, timeout=timeout)
    for setting, run in zip(wanted, runs, strict=True):
        if run.exit_code and not as_json:
            screen.print(run.output, end="", markup=False, soft_wrap=True)
        if run.errors:
            what = "failed" if run.exit_code else "warned"
            _say(f"{chosen.slug} {what}" + (f" with {setting_name(setting)}" if setting else ""))
            typer.echo(run.errors.rstrip("\n"), err=True)
        if run.exit_code:
            raise typer.Exit(1)
    if as_json:
        rows = [
            {
                "settings": {knob.name: value for knob, value in setting.items()},
                "output": run.output,
                "errors": run.errors,
                "changed": changed_lines(runs[0].output, run.output),
            }
            for setting, run in zip(wanted, runs, strict=True)
        ]
        _print_json(rows if swept else rows[-1])
        return
    screen.print(chosen.question, style="bold", markup=False)
    if (swept or values) and all(run.output == runs[0].output for run in runs):
        screen.print(runs[0].output.rstrip(), markup=False, soft_wrap=True)
        screen.print("Nothing changed.", style="dim")
        return
    if swept:
        outputs = {repr(value): run.output for value, run in zip(tries, runs, strict=True)}
        screen.print(tabulated(knob.name, outputs, screen.width), soft_wrap=True)
        return
    if values:
        titles = (setting_name({knob: knob.value for knob in values}), setting_name(values))
        shown = comparison(runs[0].output, runs[1].output, titles, screen.width)
        screen.print(shown, soft_wrap=True)
        return
    screen.print(runs[0].output.rstrip(), markup=False, soft_wrap=True)
    screen.print()
    for knob in chosen.knobs:
        screen.print(f"{run_command(chosen, knob, knob.tries[0])}", style="cyan", markup=False)
        screen.print(f"    {knob.hint}", style="dim", markup=False)


@app.command(epilog=examples("observe k_wta", "observe k_wta --fresh"))
def observe(
    entry: EntryName,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin with a new copy; asks before replacing yours.")
    ] = False,
    timeout: Timeout = 60.0,
) -> None:
    """Edit a copy of an example: it runs at every save."""
    from lexicon.terminal.observe import observe as observe_file
    from lexicon.terminal.screen import console

    with _catalog_errors():
        chosen = _find(entry)
        original = chosen.example.read_bytes()
    try:
        mine = Path.cwd() / f"{chosen.slug}.py"
    except FileNotFoundError as error:
        _say("this folder has been deleted; start in another")
        raise typer.Exit(1) from error
    screen = console()
    try:
        missing = not os.path.lexists(mine)  # what a link names is not ours to create
        if not missing and mine.samefile(chosen.example):
            raise typer.BadParameter(f"{mine} is the lexicon's own; start in another folder")
        screen.print(chosen.question, style="bold", markup=False)
        edited = not missing and mine.read_bytes() != original
        if edited and fresh:
            question = f"Replace {mine.name}, which you have edited? [y/N]: "
            answer = screen.input(question, markup=False)
            if answer.strip().lower() not in ("y", "yes"):
                raise typer.Abort
        if edited and not fresh:
            screen.print(f"This is your {mine.name}, as you left it. Edit it, and save.")
        else:
            if missing or edited:
                mine.write_bytes(original)
            screen.print(f"{mine.name} is in this folder. Edit it, and save.")
        observe_file(mine, timeout=timeout, console=screen)
    except OSError as error:
        _say(f"{mine}: {error.strerror or error}")
        raise typer.Exit(1) from error


@app.command(epilog=examples("quiz", "quiz k_wta", "quiz sparsity", "quiz k_wta --again"))
def quiz(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="ENTRY|CHAPTER",
            help="What to ask about; by default what you can learn next.",
            autocompletion=complete_entry_or_chapter,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also ask what you have answered rightly.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed, another order.")] = 0,
) -> None:
    """Predict what a turned knob changes, then see it run."""
    from lexicon.terminal.learning import is_unlocked, learn_next
    from lexicon.terminal.quiz import hold_quiz
    from lexicon.terminal.screen import console

    screen = console()
    with _catalog_errors():
        answers = _answers()
        chosen: Iterable[Entry]
        if what is None and again:
            chosen = (entry for entry in entries() if is_unlocked(entry, answers))
        elif what is None:
            chosen = learn_next(answers)
        elif what in chapters():
            chosen = entries(what)
        else:
            chosen = [_find(what, "ENTRY|CHAPTER")]
        try:
            asked, right = hold_quiz(
                chosen, answers, again=again, seed=seed, console=screen, say=_say
            )
        except RuntimeError as error:
            _say(str(error))
            raise typer.Exit(1) from error
    if asked:
        screen.print(f"\n{right} of {asked} right.")


@app.command(epilog=examples("path rewiring", "path rewiring --to-read", "path rewiring --json"))
def path(
    entry: EntryName,
    to_read: Annotated[
        bool, typer.Option("--to-read", help="Leave out what you have finished.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what to read first, down to the entry itself."""
    from rich.table import Table

    from lexicon.terminal.learning import is_finished, path_tree
    from lexicon.terminal.screen import console

    with _catalog_errors():
        chosen, answers = _find(entry), _answers()
        if as_json:
            _print_json(
                [
                    {
                        "entry": other.slug,
                        "chapter": other.chapter,
                        "title": other.title,
                        "prerequisites": [before.slug for before in other.prerequisites],
                        "finished": is_finished(other, answers),
                    }
                    for other in chosen.path
                    if not (to_read and is_finished(other, answers))
                ]
            )
            return
        tree = path_tree(chosen, leave_out=lambda e: to_read and is_finished(e, answers))
        if to_read and is_finished(chosen, answers):
            tree.pop()
        if not tree:
            _say(f"you have finished {chosen.title} and all it stands on")
            return
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for branch in tree:
            also = ", ".join(other.slug for other in branch.also_needs)
            done = " (finished)" if is_finished(branch.entry, answers) else ""
            table.add_row(
                f"[dim]{branch.lines}[/][cyan]{branch.entry.slug}[/]",
                f"{branch.entry.title}{done}" + (f"[dim], also needs {also}[/]" if also else ""),
            )
    console().print(table)


@app.command(epilog=examples("search dead neurons", "search kwta", "search momentum --json"))
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="What to look for.")],
    as_json: AsJson = False,
) -> None:
    """Find entries by name, summary and text."""
    from rich.text import Text

    from lexicon.terminal.pages import plain_text
    from lexicon.terminal.screen import console
    from lexicon.terminal.search import search as find_words

    with _catalog_errors():
        hits = find_words(" ".join(words))
        lines = [plain_text(hit.line) for hit in hits]
        if as_json:
            _print_json(
                [
                    {"entry": hit.entry.slug, "title": hit.entry.title, "line": line}
                    for hit, line in zip(hits, lines, strict=True)
                ]
            )
            return
        screen = console()
        for hit, line in zip(hits, lines, strict=True):
            screen.print(f"[cyan]{hit.entry.slug}[/]  {hit.entry.title}", soft_wrap=True)
            text = Text(line, "dim")
            for stem in hit.matched:
                text.highlight_regex(rf"(?i)(?<!\w){'[-_]?'.join(stem)}\w*", "bold not dim")
            for part in text.wrap(screen, max(1, screen.width - 4)):
                part.rstrip()
                screen.print(Text.assemble("    ", part), soft_wrap=True)
        if not hits:
            _say(f"nothing is found for {' '.join(words)!r}")


@app.command(epilog=examples("tour", "tour --seeds 1"))
def tour(
    seeds: Annotated[int, typer.Option(min=1, help="Over how many seeds to average.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Train eight networks on real digits, from dense to rewired."""
    from dataclasses import asdict

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lexicon.terminal.screen import console
    from lexicon.terminal.tour import MODELS, run_tour, what_to_notice

    errors = console(stderr=True)
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
    screen = console()
    screen.print(_table(rows, screen, spread=seeds > 1))
    for sentence in what_to_notice(rows):
        screen.print(f"• {sentence}", markup=False)


def _find(name: str, argument: str = "ENTRY") -> Entry:
    try:
        return find(name)
    except KeyError as error:
        raise typer.BadParameter(error.args[0], param_hint=argument) from error


def _print_overview(answers: "Answers") -> None:
    from itertools import islice

    from rich.table import Table

    from lexicon.terminal.learning import is_finished, learn_next, questions
    from lexicon.terminal.screen import console

    screen = console()
    for chapter, description in chapters().items():
        listed = entries(chapter)
        if not listed:
            continue
        screen.print(f"\n[bold]{description}[/]")
        if answers:
            done = sum(is_finished(entry, answers) for entry in listed)
            screen.print(f"{done} of {len(listed)} finished", style="dim")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True, min_width=27)
        table.add_column()
        for entry in listed:
            state = ""
            if kept := answers.get(entry.slug):
                asked = questions(entry)
                known = sum(kept.get(name, False) for name in asked)
                state = "finished" if known == len(asked) else f"{known} of {len(asked)}"
            table.add_row(entry.slug, entry.title + (f" [dim]({state})[/]" if state else ""))
        screen.print(table)
    if answers:
        upcoming = [entry.slug for entry in islice(learn_next(answers), 3)]
        screen.print(f"\nLearn next: [cyan]{', '.join(upcoming) or 'all is finished'}[/]")
        screen.print("Read one:  lexicon read ENTRY    Finish it:  lexicon quiz ENTRY")
    else:
        screen.print("\nStart with  lexicon tour  or  lexicon read neuron")
        screen.print("Then turn a knob:  lexicon run k_wta --set K=1")


def _table(rows: "list[Row]", screen: "Console", *, spread: bool) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2 if screen.width >= 78 else 1, 0, 0), pad_edge=False)
    table.add_column("model")
    for heading in ("accuracy", "connections", "bytes", "FLOPs", "seconds"):
        table.add_column(heading, justify="right", overflow="fold")
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


def _answers() -> "Answers":
    from lexicon.terminal.progress import read_answers

    try:
        return read_answers(say=_say)
    except OSError as error:
        _say(f"what you have finished cannot be read: {error}")
        return {}


@contextmanager
def _catalog_errors() -> Iterator[None]:
    try:
        yield
    except CatalogError as error:
        _say(str(error))
        raise typer.Exit(1) from error


def _say(message: str) -> None:
    typer.echo(f"lexicon: {message}", err=True)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
