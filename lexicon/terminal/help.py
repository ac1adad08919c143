"""What a shell shows before a command runs: completions, and examples of its use."""

import os
import re

import typer

from lexicon.catalog import Knob, chapters, entries, find

__all__ = [
    "complete_entry",
    "complete_entry_or_chapter",
    "complete_setting",
    "complete_sweep",
    "examples",
    "mend_words",
]


def complete_entry(incomplete: str) -> list[tuple[str, str]]:
    """Return the entries that begin so, with their titles."""
    return [(e.slug, e.title) for e in entries() if e.slug.startswith(incomplete)]


def complete_entry_or_chapter(incomplete: str) -> list[tuple[str, str]]:
    """Return the chapters and entries that begin so."""
    found = [name for name in chapters() if name.startswith(incomplete) and entries(name)]
    return [(name, "a chapter") for name in found] + complete_entry(incomplete)


def complete_setting(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the settings to try that begin so, with what to look for."""
    settings = [(f"{k.name}={value}", k.hint) for k in _knobs(context) for value in k.tries]
    return _typed(settings, incomplete)


def complete_sweep(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return for each knob a sweep over its own value and those to try, with what to look for."""
    sweeps = [
        (f"{k.name}={','.join(map(str, (k.value, *k.tries)))}", k.hint) for k in _knobs(context)
    ]
    return _typed(sweeps, incomplete)


def _knobs(context: typer.Context) -> list[Knob]:
    # An option that still waits for its value leaves the arguments before it unassigned.
    words = [context.params.get("entry"), *context.args]
    try:
        return find(next(word for word in words if word)).knobs
    except (KeyError, StopIteration):
        return []


def _typed(completions: list[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    name = os.environ.get("_LEXICON_KNOB", "")
    # With backslashes and not in quotes: what is completed still begins with what was typed.
    return [
        (re.sub(r"([^\w=.,+-])", r"\\\1", text.removeprefix(name)), hint)
        for text, hint in completions
        if text.startswith(name + incomplete)
    ]


def mend_words() -> None:
    """Undo what bash does to words: an equals sign ends one there, and only the rest is wanted."""
    if os.environ.get("_LEXICON_COMPLETE") != "complete_bash":
        return
    end = int(os.environ["COMP_CWORD"])
    words = os.environ["COMP_WORDS"].split("\n")[: end + 1]
    *before, last = re.sub(r"\n(\w+)\n=(\n|$)", r"\n\1=", "\n".join(words)).split("\n")
    os.environ["COMP_CWORD"] = str(end - len(words) + len(before) + 1)
    if last != words[-1]:
        name, _, last = last.partition("=")
        os.environ["_LEXICON_KNOB"] = f"{name}="
    os.environ["COMP_WORDS"] = "\n".join([*before, last])


def examples(*commands: str) -> str:
    """Return what stands below a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  lexicon {command}" for command in commands)
