"""Predict, run, observe: questions made of what the examples really print."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from lexicon.catalog import Check, Entry, Knob
from lexicon.terminal.differences import comparison
from lexicon.terminal.drawing import Page, code
from lexicon.terminal.examples import run_command, run_examples, setting_name
from lexicon.terminal.learning import is_finished, questions
from lexicon.terminal.pages import plain_markdown
from lexicon.terminal.progress import Answers, record_answer

__all__ = ["Prediction", "hold_quiz", "in_order", "predict"]

_LETTERS = "abcd"


class _Left(Exception):
    """The reader wants to stop."""


@dataclass(frozen=True)
class Prediction:
    """The question which output comes when a knob is turned.

    Parameters
    ----------
    knob : Knob
        The knob.
    value : object
        What it is turned to.
    before : str
        What the example prints as it is.
    choices : list of str
        Outputs of this and other settings, all different.
    right : int
        Which of them comes.
    """

    knob: Knob
    value: object
    before: str
    choices: list[str]
    right: int


def in_order(entry: Entry, kept: dict[str, bool], *, seed: int) -> dict[str, Knob | Check]:
    """Return an entry's questions in the order in which they are asked.

    Parameters
    ----------
    entry : Entry
        The entry.
    kept : dict of str to bool
        Whether questions asked earlier were answered rightly.
    seed : int
        Another seed, another order.

    Returns
    -------
    dict of str to Knob or Check
        By name; those that are new come first, then those answered wrongly, then the others.
        Among these, the page's own come in its order: one may refer to the one before.
    """
    named = questions(entry)
    names = list(named)
    random.Random(f"{seed} {entry.slug}").shuffle(names)
    checks = iter(check.question for check in entry.checks)
    names = [next(checks) if isinstance(named[name], Check) else name for name in names]
    place = {None: 0, False: 1, True: 2}
    return {name: named[name] for name in sorted(names, key=lambda name: place[kept.get(name)])}


def predict(entry: Entry, knob: Knob, *, seed: int) -> Prediction:
    """Run an example with a knob turned, and other settings for comparison.

    Parameters
    ----------
    entry : Entry
        The entry.
    knob : Knob
        One of its example's knobs.
    seed : int
        Another seed may turn it elsewhere, and lays out the choices in another order.

    Returns
    -------
    Prediction
        With up to four choices: first of the same knob, then of the others, but not of another
        seed, which looks as if nothing had changed.

    Raises
    ------
    RuntimeError
        If the example fails.
    """
    rng = random.Random(f"{seed} {entry.slug} {knob.name}")
    value = rng.choice(knob.tries)
    other_knobs = [other for other in entry.knobs if other.name not in (knob.name, "SEED")]
    others = [{other: v} for other in other_knobs for v in other.tries]
    rng.shuffle(others)
    settings: list[dict[Knob, object]] = [{}, {knob: value}]
    settings += [{knob: v} for v in knob.tries if v != value]
    settings += others[: 6 - len(settings)]
    runs = run_examples(entry, settings)
    for setting, run in zip(settings, runs, strict=True):
        if run.exit_code:
            raise RuntimeError(f"{entry.slug} with {setting_name(setting)}:\n{run.errors}")
    before, right, *wrong = dict.fromkeys(run.output for run in runs)
    # What it prints unturned stands above the question, and is never right: the last resort.
    choices = [right, *[*wrong, before][:3]]
    rng.shuffle(choices)
    return Prediction(knob, value, before, choices, choices.index(right))


def hold_quiz(
    chosen: Iterable[Entry],
    answers: Answers,
    *,
    again: bool,
    seed: int,
    console: Console,
    say: Callable[[str], None],
) -> tuple[int, int]:
    """Ask questions until there are none left or the reader leaves, and keep the answers.

    Parameters
    ----------
    chosen : iterable of Entry
        What to ask about.
    answers : dict
        What was answered earlier; changed.
    again : bool
        Whether also to ask what was answered rightly.
    seed : int
        As in `in_order` and `predict`.
    console : Console
        Where to ask. Answers are read from standard input.
    say : callable
        Given a message if an answer cannot be kept.

    Returns
    -------
    asked, right : int
        How many questions were answered, and how many rightly.

    Raises
    ------
    RuntimeError
        If an example fails.
    """
    asked = right = 0
    to_ask = False
    try:
        for entry in chosen:
            kept = answers.setdefault(entry.slug, {})
            named = {
                name: question
                for name, question in in_order(entry, kept, seed=seed).items()
                if again or not kept.get(name)
            }
            for number, (name, question) in enumerate(named.items(), 1):
                to_ask = True
                console.print()
                headline = f"{entry.title}: question {number} of {len(named)}"
                console.rule(headline, align="left", style="dim")
                if number == 1:
                    console.print(code(_without_hints(entry)), soft_wrap=True)
                    console.print()
                if isinstance(question, Check):
                    is_right = _ask_check(question, console)
                else:
                    is_right = _ask_knob(entry, question, seed, console)
                asked, right = asked + 1, right + is_right
                kept[name] = is_right or kept.get(name, False)
                try:
                    record_answer(entry.slug, name, is_right, say=say)
                except OSError as error:
                    say(f"this answer could not be kept: {error}")
            if named and is_finished(entry, answers):
                console.print(f"\nYou have finished [bold]{entry.title}[/].")
    except _Left:
        pass
    if not to_ask:
        console.print("All is answered. With --again you are asked again.")
    return asked, right


def _without_hints(entry: Entry) -> str:
    """Return an example without what its knobs say of themselves: that is the answer."""
    lines = entry.example.read_text(encoding="utf-8").splitlines()
    for knob in entry.knobs:
        lines[knob.line - 1] = lines[knob.line - 1].partition("# try")[0].rstrip()
    return "\n".join(lines)


def _ask_knob(entry: Entry, knob: Knob, seed: int, console: Console) -> bool:
    with console.status("running the example with several settings"):
        prediction = predict(entry, knob, seed=seed)
    console.print("As it is, the example prints:", style="bold")
    console.print(Text(f"{prediction.before.rstrip()}\n"), soft_wrap=True)
    return _ask_prediction(entry, prediction, console)


def _ask_prediction(entry: Entry, prediction: Prediction, console: Console) -> bool:
    knob, value = prediction.knob, prediction.value
    console.print(
        f"You change [bold]{knob.name} = {knob.value!r}[/] to [bold]{knob.name} = {value!r}[/] "
        "and run it again. Which of these lines come?"
    )
    letters = _LETTERS[: len(prediction.choices)]
    choices = dict(zip(letters, _distinguishing(prediction.choices), strict=True))
    if max(map(cell_len, "\n".join(prediction.choices).splitlines())) + 4 <= console.width:
        panel = partial(Panel, title_align="left", expand=False)
        console.print(Columns([panel(text, title=letter) for letter, text in choices.items()]))
    else:
        for letter, text in choices.items():
            console.rule(letter, align="left", style="dim")
            console.print(text, soft_wrap=True)
    answer = _answer(console, f"{', '.join(letters)}, or q to leave: ", letters)
    right = letters[prediction.right]
    titles = (f"{knob.name} = {knob.value!r}", f"{knob.name} = {value!r}")
    output = prediction.choices[prediction.right]
    console.print(f"\n$ {run_command(entry, knob, value)}", style="dim", markup=False)
    console.print(
        comparison(prediction.before, output, titles, console.width), soft_wrap=True, markup=False
    )
    verdict = "Right" if answer == right else f"No, it is {right}"
    console.print(f"\n[bold]{verdict}.[/] {_sentence(knob)}")
    return answer == right


def _distinguishing(outputs: list[str]) -> Iterator[Text]:
    """Yield the lines of each output that not all have."""
    lines = [output.splitlines() for output in outputs]
    shared = set.intersection(*map(set, lines))
    for one in lines:
        yield Text("\n".join(line for line in one if line not in shared) or "(nothing else)")


def _ask_check(check: Check, console: Console) -> bool:
    console.print(Page(f"**{plain_markdown(check.question)}**"))
    _answer(console, "Answer for yourself, then press Enter; q to leave: ", None)
    console.print()
    console.print(Page(plain_markdown(check.answer, width=console.width)))
    return _answer(console, "\nIs that what you thought? y, n, or q to leave: ", "yn") == "y"


def _answer(console: Console, prompt: str, letters: str | None) -> str:
    """Read an answer until it is one of the letters; without letters, any will do."""
    while True:
        try:
            answer = console.input(f"[bold]{prompt}[/]").strip().lower()
        except EOFError:
            console.print()
            raise _Left from None
        except UnicodeDecodeError:  # a byte that is no letter is no answer
            continue
        if answer == "q":
            raise _Left
        if letters is None or (len(answer) == 1 and answer in letters):
            return answer


def _sentence(knob: Knob) -> str:
    """Return what a knob says of itself, and of which values, if it speaks of several."""
    hint = knob.hint.rstrip(".")
    if len(knob.tries) > 1:
        return f"{knob.name} = {' or '.join(map(repr, knob.tries))}: {hint}."
    return f"{hint[0].upper()}{hint[1:]}."
