"""What a shell shows before a command runs: completions, and examples of its use."""

import re

import typer

from lexicon.catalog import chapters, entries, find

__all__ = ["complete_entry", "complete_entry_or_chapter", "complete_setting", "examples"]


def complete_entry(incomplete: str) -> list[tuple[str, str]]:
    """Return the entries that begin so, with their titles."""
    return [(e.slug, e.title) for e in entries() if e.slug.startswith(incomplete)]


def complete_entry_or_chapter(incomplete: str) -> list[tuple[str, str]]:
    """Return the chapters and entries that begin so."""
    found = [name for name in chapters() if name.startswith(incomplete) and entries(name)]
    return [(name, "a chapter") for name in found] + complete_entry(incomplete)


def complete_setting(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the settings to try that begin so, with what to look for."""
    # An option that still waits for its value leaves the arguments before it unassigned.
    words = [context.params.get("entry"), *context.args]
    try:
        knobs = find(next(word for word in words if word)).knobs
    except (KeyError, StopIteration):
        return []
    settings = [(f"{k.name}={value}", k.hint) for k in knobs for value in k.tries]
    # With backslashes and not in quotes: what is completed still begins with what was typed.
    return [
        (re.sub(r"([^\w=.,+-])", r"\\\1", setting), hint)
        for setting, hint in settings
        if setting.startswith(incomplete)
    ]


def examples(*commands: str) -> str:
    """Return what stands below a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  lexicon {command}" for command in commands)
