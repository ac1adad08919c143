"""Fills a page's markers with what the files say: the same words for terminal and site."""

import re
import textwrap
from collections.abc import Callable

from lexicon.catalog import Entry, Figure
from lexicon.terminal.examples import run_command

__all__ = ["fenced", "filled_page", "plain_markdown", "plain_text", "section", "terminal_page"]


def filled_page(
    entry: Entry,
    *,
    run: str,
    figure: Callable[[Figure], str],
    link: Callable[[Entry], str],
    claims: str = "",
) -> str:
    """Return an entry's page with its markers replaced.

    Parameters
    ----------
    entry : Entry
        The entry.
    run : str
        Markdown for the example and what it does.
    figure : callable
        Turns the entry's figure, if it has one, into Markdown.
    link : callable
        Turns another entry into Markdown.
    claims : str, default ""
        Markdown for what is said of the entry and was measured.

    Returns
    -------
    str
        Markdown.
    """
    related = [
        f"**{title}** {', '.join(link(other) for other in others)}."
        for title, others in [
            ("Stands on:", entry.prerequisites),
            ("Needed by:", entry.dependents),
        ]
        if others
    ]
    sources = "\n".join(f"- {reference}" for reference in entry.references)
    page = entry.page.read_text(encoding="utf-8")
    for marker, text in {
        "<!-- source -->": fenced("python", entry.module.read_text(encoding="utf-8")),
        "<!-- run -->": run,
        "<!-- figure -->": figure(entry.figure) if entry.figure else "",
        "<!-- related -->": "\n\n".join(
            filter(None, [*related, claims, f"**Sources**\n\n{sources}"])
        ),
    }.items():
        page = page.replace(marker, text)
    return page


def terminal_page(entry: Entry, *, width: int = 80) -> str:
    """Return an entry's page for a terminal, which cannot fold answers or follow links.

    Parameters
    ----------
    entry : Entry
        The entry.
    width : int, default 80
        Columns that a formula may take.

    Returns
    -------
    str
        Markdown.
    """
    knobs = "\n".join(
        f"- `{run_command(entry, knob, value)}`" for knob in entry.knobs for value in knob.tries
    )
    example = fenced("python", entry.example.read_text(encoding="utf-8"))
    page = filled_page(
        entry,
        run=f"{example}\n\nRun it with `lexicon run {entry.slug}`, then turn a knob:\n\n{knobs}",
        figure=lambda figure: f"*Figure, on the site:* {figure.caption} {figure.alternative}",
        link=lambda other: f"`{other.slug}`",
    )
    page = plain_markdown(page, width=width)
    lines, inside_answer = [], False
    for line in page.splitlines():
        question = re.fullmatch(r'\?\?\? question "(.*)"', line)
        if question:
            inside_answer = True
            line = f"**{question[1]}**"
        elif inside_answer and line.startswith("    "):
            line = f"> {line[4:]}"
        elif line:
            inside_answer = False
        lines.append(line)
    return "\n".join(lines)


def section(page: str, heading: str) -> str:
    """Return one section of a page, its heading included.

    Parameters
    ----------
    page : str
        Markdown.
    heading : str
        One of `lexicon.catalog.SECTIONS`.

    Returns
    -------
    str
        Markdown.
    """
    _, found, rest = page.partition(f"\n## {heading}\n")
    return f"## {heading}\n{rest}".partition("\n## ")[0] if found else ""


def plain_markdown(text: str, *, width: int = 80) -> str:
    """Replace what a terminal cannot show: formulas by signs, pictures and links by words.

    Parameters
    ----------
    text : str
        Markdown as on the site.
    width : int, default 80
        Columns that a formula may take.

    Returns
    -------
    str
        Markdown.
    """
    # Every second part is code, in which a dollar is a dollar.
    parts = re.split(r"(^ *`{3,}.*?^ *`{3,}$|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [_without_formulas_and_links(part, width) for part in parts[::2]]
    return "".join(parts)


def plain_text(text: str) -> str:
    """Return a sentence of a page without any markup.

    Parameters
    ----------
    text : str
        Markdown as on the site.

    Returns
    -------
    str
        The words.
    """
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", plain_markdown(text))
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[*`]", "", text))


def _without_formulas_and_links(text: str, width: int) -> str:
    text = re.sub(r"!\[([^\]]+)\]\([^)]+\)", r"*On the site there is a figure here:* \1", text)
    text = re.sub(r"\[([^\]]+)\]\([^)\s]+\.md[^)]*\)", r"\1", text)
    if "$" not in text:
        return text
    from lexicon.terminal.formulas import display, inline

    def block(match: re.Match[str]) -> str:
        margin, tex = match[1], textwrap.dedent(match[2])
        return textwrap.indent(fenced("text", display(tex, width - len(margin))), margin)

    def within(match: re.Match[str]) -> str:
        # The first sign may stand first in a line, where a minus would begin a list.
        return re.sub(r"(^[-+#=]|[\\_*\[\]<>^~|])", r"\\\1", inline(match[1]))

    text = re.sub(r"^( *)\$\$\n(.+?)\n\1\$\$$", block, text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!\\)\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)", within, text)


def fenced(language: str, text: str, options: str = "") -> str:
    """Return a fenced block whose fence is longer than any in the text.

    Parameters
    ----------
    language : str
        For the colours.
    text : str
        The block.
    options : str, default ""
        What stands behind the language.

    Returns
    -------
    str
        Markdown.
    """
    ticks = max((len(run) for run in re.findall(r"^`{3,}", text, flags=re.MULTILINE)), default=2)
    fence = "`" * (ticks + 1)
    return f"{fence}{language}{' ' + options if options else ''}\n{text.rstrip()}\n{fence}"
