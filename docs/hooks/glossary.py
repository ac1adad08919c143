"""Explains the lexicon's own words where they occur, once on each page."""

import html
import re
from collections.abc import Callable

from lexicon.catalog import Entry, entries

# Inside of these a word is a name, a link already, or not prose.
_SKIPPED = {"a", "button", "code", "figure", "label", "math", "pre", "script", "style", "summary",
            "svg", "h1", "h2", "h3", "h4"}  # fmt: skip


def explained(content: str, *, own: Entry | None, link: Callable[[Entry], str]) -> str:
    """Make a button of the first mention of each entry that a page neither is nor links to.

    Parameters
    ----------
    content : str
        A page's HTML.
    own : Entry or None
        The page's own entry.
    link : callable
        Gives an entry's address.

    Returns
    -------
    str
        The same, with a definition at its end for each button, which opens without a script.
    """
    linked = set(re.findall(r'href="[^"]*?(\w+)/(?:#[^"]*)?"', content))
    known = {entry for entry in entries() if entry == own or entry.slug in linked}
    terms = {entry.title.lower(): entry for entry in entries()}
    longest_first = "|".join(sorted(map(re.escape, terms), key=len, reverse=True))
    term = re.compile(rf"(?<![\w-])({longest_first})(s?)(?![\w-])([.,;:!?)]*)", re.IGNORECASE)
    found: list[Entry] = []

    def button(match: re.Match[str]) -> str:
        entry = terms[match[1].lower()]
        if entry in known:
            return match[0]
        known.add(entry)
        found.append(entry)
        summary = html.escape(entry.summary)
        button = (
            f'<button type="button" class="term" popovertarget="term-{entry.slug}" '
            f'title="{summary}">{match[1]}{match[2]}</button>'
        )
        # A line may not begin with the comma behind it.
        return f'<span class="kept">{button}{match[3]}</span>' if match[3] else button

    parts, skipping = [], 0
    for part in re.split(r"(<[^>]+>)", content):
        tag = re.match(r"<(/?)(\w+)", part)
        if tag and tag[2] in _SKIPPED:
            skipping += -1 if tag[1] else 1
        parts.append(part if part.startswith("<") or skipping else term.sub(button, part))
    definitions = "".join(
        f'<div popover id="term-{entry.slug}" class="definition" data-search-exclude>'
        f'<p>{html.escape(entry.summary)}</p><p><a href="{link(entry)}">{html.escape(entry.title)}'
        "</a></p></div>"
        for entry in found
    )
    return "".join(parts) + definitions
