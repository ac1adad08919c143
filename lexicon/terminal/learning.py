"""Says what has been learned, what can be learned next, and what comes before what."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lexicon.catalog import Check, Entry, Knob, entries
from lexicon.terminal.progress import Answers

__all__ = ["Branch", "is_finished", "is_unlocked", "learn_next", "path_tree", "questions"]


def questions(entry: Entry) -> dict[str, Knob | Check]:
    """Return an entry's questions by the names under which answers are kept.

    Parameters
    ----------
    entry : Entry
        The entry.

    Returns
    -------
    dict of str to Knob or Check
        Its knobs, whose effect is to be predicted, then the questions of its page. Not the knob
        SEED: which numbers another seed draws, nobody can predict.
    """
    knobs: dict[str, Knob | Check] = {
        knob.name: knob for knob in entry.knobs if knob.name != "SEED"
    }
    return knobs | {check.question: check for check in entry.checks}


def is_finished(entry: Entry, answers: Answers) -> bool:
    """Say whether all questions of an entry were answered rightly."""
    kept = answers.get(entry.slug, {})
    return bool(kept) and all(kept.get(name) for name in questions(entry))


def is_unlocked(entry: Entry, answers: Answers) -> bool:
    """Say whether all that an entry stands on directly is finished."""
    return all(is_finished(other, answers) for other in entry.prerequisites)


def learn_next(answers: Answers) -> Iterator[Entry]:
    """Yield the entries that are unlocked and not finished, in reading order."""
    return (
        entry
        for entry in entries()
        if not is_finished(entry, answers) and is_unlocked(entry, answers)
    )


@dataclass(frozen=True)
class Branch:
    """A line of a tree.

    Parameters
    ----------
    lines : str
        What connects it with those above.
    entry : Entry
        The entry.
    also_needs : list of Entry
        What it needs beside the entries it is connected with: those stand further up.
    """

    lines: str
    entry: Entry
    also_needs: list[Entry]


def path_tree(entry: Entry, *, leave_out: Callable[[Entry], bool]) -> list[Branch]:
    """Draw what an entry stands on as a tree that is read downwards.

    Parameters
    ----------
    entry : Entry
        The entry; it comes last, whether left out or not.
    leave_out : callable
        Says of an entry whether not to draw it.

    Returns
    -------
    list of Branch
        Each entry once, after all it needs.
    """
    branches: list[Branch] = []
    drawn: set[Entry] = set()

    def needed(entry: Entry) -> list[Entry]:
        found: list[Entry] = []
        for other in entry.prerequisites:
            found += needed(other) if leave_out(other) else [other]
        return list(dict.fromkeys(found))

    def draw(entry: Entry, margin: str, joint: str) -> None:
        below = margin + {"": "", "┌─ ": "   ", "├─ ": "│  "}[joint]
        connected: list[Entry] = []
        for other in needed(entry):
            if other not in drawn:
                draw(other, below, "├─ " if connected else "┌─ ")
                connected.append(other)
        also = [other for other in needed(entry) if other not in connected]
        branches.append(Branch(margin + joint, entry, also))
        drawn.add(entry)

    draw(entry, "", "")
    return branches
