"""Compares what two or more runs printed, line by line, and shows both values of what changed."""

import re
from difflib import SequenceMatcher
from itertools import zip_longest

from rich.table import Table
from rich.text import Text

__all__ = ["changed_lines", "comparison", "paired_lines", "tabulated"]


def paired_lines(before: str, after: str) -> list[tuple[str | None, str | None]]:
    """Lay the lines of two outputs side by side.

    Parameters
    ----------
    before, after : str
        Two outputs.

    Returns
    -------
    list of (str or None, str or None)
        Each line of either, in order, beside the one it became: equal, or the same but for its
        numbers. None where there is none.
    """
    old, new = before.splitlines(), after.splitlines()
    pairs: list[tuple[str | None, str | None]] = []
    for same, i, j in _blocks(old, new):
        if same:
            pairs += zip(i, j, strict=True)
            continue
        for alike, k, m in _blocks([_shape(line) for line in i], [_shape(line) for line in j]):
            del alike  # lines of one shape belong together, and what is left goes by order
            rows = zip_longest(i[: len(k)], j[: len(m)])
            pairs += rows
            i, j = i[len(k) :], j[len(m) :]
    return pairs


def _blocks(old: list[str], new: list[str]) -> list[tuple[bool, list[str], list[str]]]:
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [(tag == "equal", old[a:b], new[c:d]) for tag, a, b, c, d in codes]


def _shape(line: str) -> str:
    """Return a line with all numbers alike, but the first word as it is: it may number the line."""
    first, *others = line.split() or [""]
    return " ".join([first, *(re.sub(r"[-+]?\d[\d.,e+-]*", "0", other) for other in others)])


def changed_lines(before: str, after: str) -> list[bool]:
    """Say of each line of a run's output whether it differs from the run before.

    Parameters
    ----------
    before, after : str
        Two outputs.

    Returns
    -------
    list of bool
        True for each line of `after` that is new or different.
    """
    return [old != new for old, new in paired_lines(before, after) if new is not None]


def comparison(before: str, after: str, titles: tuple[str, str], width: int) -> Text:
    """Draw two outputs, side by side where they fit, else with both values of changed lines.

    Parameters
    ----------
    before, after : str
        Two outputs.
    titles : (str, str)
        What to call them.
    width : int
        Columns of the terminal.

    Returns
    -------
    rich.text.Text
        Changed lines are marked with ``>`` side by side, with ``-`` and ``+`` one below the other.
    """
    pairs = paired_lines(before, after)
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    left = max(len(line or "") for line in [titles[0], *(old for old, _ in changed)])
    right = max(len(line or "") for line in [titles[1], *(new for _, new in changed)])
    beside = 2 + left + 3 + right <= width
    lines = []
    if beside:
        lines.append(Text(f"  {titles[0]:{left}} | {titles[1]}", "dim"))
    else:
        lines += [Text(f"- {titles[0]}", "dim"), Text(f"+ {titles[1]}", "dim")]
    for old, new in pairs:
        if old is not None and old == new:
            # Twice where there is room: it may be the heading of what has changed below it.
            twice = beside and len(old) <= left and 2 + left + 3 + len(new) <= width
            lines.append(Text(f"  {old:{left}} | {new}" if twice else f"  {old}"))
            continue
        was, now = _marked(old, new)
        if beside:
            was.pad_right(left - len(was))
            lines.append(Text.assemble(("> ", "bold"), was, " | ", now))
            continue
        if old is not None:
            lines.append(Text.assemble(("- ", "red"), was))
        if new is not None:
            lines.append(Text.assemble(("+ ", "green"), now))
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _marked(old: str | None, new: str | None) -> tuple[Text, Text]:
    """Colour a changed pair, and make bold the words that are not the same."""
    was, now = Text("", "red"), Text("", "green")
    a, b = (re.findall(r"\s*\S+|\s+$", line or "") for line in (old, new))
    if max(len(a), len(b)) > 200:  # to look for what is the same would take longer than the run
        return was.append(old or ""), now.append(new or "")
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        was.append("".join(a[i:j]), "" if tag == "equal" else "bold")
        now.append("".join(b[k:m]), "" if tag == "equal" else "bold")
    return was, now


def tabulated(outputs: dict[str, str], width: int) -> Table | Text:
    """Draw what several runs printed, without the lines that are the same in all.

    Parameters
    ----------
    outputs : dict of str to str
        Outputs, by what to call them.
    width : int
        Columns of the terminal.

    Returns
    -------
    rich.table.Table or rich.text.Text
        A table with a column for each run, where each line begins with words that all have, and
        all that follows fits; else each line's versions one below the other; or the whole outputs,
        where they do not have equally many lines.
    """
    lines = [output.splitlines() for output in outputs.values()]
    margin = max(map(len, outputs)) + 2
    if len({len(one) for one in lines}) > 1:
        return Text("\n\n").join(
            Text(f"{name}\n", "bold").append(output.rstrip(), "not bold")
            for name, output in outputs.items()
        )
    differing = [versions for versions in zip(*lines, strict=True) if len(set(versions)) > 1]
    rows = [_in_common(versions) for versions in differing]
    widths = [max(map(len, column)) for column in zip(("", *outputs), *rows, strict=True)]
    if sum(widths) + 2 * len(outputs) <= width and all(any(map(str.isalpha, r[0])) for r in rows):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("", no_wrap=True)
        for name in outputs:
            table.add_column(name, no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        return table
    return Text("\n\n").join(
        Text("\n").join(
            Text(f"{name:{margin}}", "dim").append(version, "not dim")
            for name, version in zip(outputs, versions, strict=True)
        )
        for versions in differing
    )


def _in_common(versions: tuple[str, ...]) -> list[str]:
    """Split a line's versions into the words all begin with, and what follows in each."""
    words = [version.split() for version in versions]
    common = 0
    while common < min(map(len, words)) and len({one[common] for one in words}) == 1:
        common += 1
    return [" ".join(words[0][:common]), *(" ".join(one[common:]) for one in words)]
