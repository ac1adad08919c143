"""Compares what two or more runs printed, line by line, and shows both values of what changed."""

import re
from difflib import SequenceMatcher
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
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
    pairs = paired_lines(before.expandtabs(), after.expandtabs())
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    left = max(cell_len(line or "") for line in [titles[0], *(old for old, _ in changed)])
    right = max(cell_len(line or "") for line in [titles[1], *(new for _, new in changed)])
    beside = 2 + left + 3 + right <= width
    lines = []
    if beside:
        lines.append(Text(f"  {set_cell_size(titles[0], left)} | {titles[1]}", "dim"))
    else:
        lines += [Text(f"- {titles[0]}", "dim"), Text(f"+ {titles[1]}", "dim")]
    for old, new in pairs:
        if old is not None and old == new:
            # Twice where there is room: it may be the heading of what has changed below it.
            cells = cell_len(old)
            twice = beside and cells <= left and 2 + left + 3 + cells <= width
            lines.append(Text(f"  {set_cell_size(old, left)} | {new}" if twice else f"  {old}"))
            continue
        was, now = _marked(old, new)
        if beside:
            was.pad_right(left - was.cell_len)
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


def tabulated(name: str, outputs: dict[str, str], width: int) -> Text:
    """Draw what several runs printed: what is the same in all once, all else once for each.

    Parameters
    ----------
    name : str
        What was varied.
    outputs : dict of str to str
        Outputs, by what it was.
    width : int
        Columns of the terminal.

    Returns
    -------
    rich.text.Text
        The versions of each line one below the other, and so below what they have for a heading;
        or the whole outputs, where they do not fit, do not have equally many lines, or draw a
        picture.
    """
    lines = [output.expandtabs().splitlines() for output in outputs.values()]
    rows = list(zip(*lines, strict=False))
    margin = max(map(cell_len, outputs)) + 2
    split = all(_can_be_split(versions, width - margin) for versions in rows)
    if not split or len({len(one) for one in lines}) > 1:
        return Text("\n\n").join(
            Text(f"{name} = {value}\n", "bold").append(output.rstrip(), "not bold")
            for value, output in outputs.items()
        )
    drawn = [Text(name, "dim")]
    below_heading = True
    for versions in rows:
        first, *others = versions
        heading = all(other == first for other in others)
        if not below_heading:
            if heading and not first.strip():  # a blank line comes anyway
                continue
            drawn.append(Text())
        if heading:
            drawn.append(Text(" " * margin + first, "dim"))
        else:
            drawn += [
                Text(set_cell_size(value, margin), "dim").append(version, "not dim")
                for value, version in zip(outputs, versions, strict=True)
            ]
        below_heading = heading
    for line in drawn:
        line.rstrip()
    return Text("\n").join(drawn)


def _can_be_split(versions: tuple[str, ...], width: int) -> bool:
    """Say whether a line's versions fit and mean something without the lines around them."""
    return all(
        cell_len(version.rstrip()) <= width
        and (len(set(versions)) == 1 or any(map(str.isalnum, version)))
        for version in versions
    )
