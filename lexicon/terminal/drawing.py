"""Draws Markdown and code in the terminal's own colours, whatever its background."""

from itertools import chain, repeat
from typing import ClassVar

from pygments.token import Comment, Generic, Keyword, Name, Number, String
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    CodeBlock,
    Heading,
    ListItem,
    Markdown,
    MarkdownElement,
    TableElement,
)
from rich.segment import Segment
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.table import Table
from rich.text import Text

__all__ = ["Page", "code"]

# None of those that vanish on white or on black.
_CODE = ANSISyntaxTheme(
    {
        Comment: Style(color="green"),
        Keyword: Style(color="magenta"),
        Number: Style(color="cyan"),
        String: Style(color="cyan"),
        String.Doc: Style(dim=True),
        Name.Function: Style(bold=True),
        Name.Class: Style(bold=True),
        Generic.Prompt: Style(dim=True),
        Generic.Error: Style(color="red"),
    }
)


def code(source: str, language: str = "python") -> Text:
    """Return source text in colour.

    Parameters
    ----------
    source : str
        The source.
    language : str, default "python"
        What it is written in.

    Returns
    -------
    rich.text.Text
        The same text.
    """
    text = Syntax(source, language, theme=_CODE).highlight(source)
    text.rstrip()
    return text


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text.plain, "bold")
        if self.tag in ("h1", "h2"):
            yield Text(("=" if self.tag == "h1" else "-") * len(self.text.plain), "dim")


class _CodeBlock(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(20, options.max_width - 2)
        for line in code(str(self.text), self.lexer_name).split("\n"):
            indent = len(line.plain) - len(line.plain.lstrip())
            if len(line) <= room:
                yield Text.assemble("  ", line)
                continue
            if indent > room // 2 or self.lexer_name == "text":
                for piece in line.divide(range(room, len(line), room)):
                    yield Text.assemble("  ", piece)
                continue
            # What does not fit goes on below, further in than it began.
            first, *others = line[indent:].wrap(console, room - indent - 4)
            yield Text.assemble("  ", " " * indent, first)
            for other in others:
                yield Text.assemble("  ", " " * (indent + 4), other)


class _ListItem(ListItem):
    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        # With a dot: before a formula, a bare number would be a factor.
        for first, line in zip(
            chain([f"{number}."], repeat("")),
            console.render_lines(self.elements, options.update(width=options.max_width - 5)),
            strict=False,
        ):
            yield Segment(f"{first:>4} ")
            yield from line
            yield Segment("\n")


class _Table(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"  # in two lines rather than without its end
            yield table


class Page(Markdown):
    """A page, drawn.

    Parameters
    ----------
    markdown : str
        What `lexicon.terminal.pages.terminal_page` returned, or a part of it.
    """

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "list_item_open": _ListItem,
        "table_open": _Table,
    }

    def __init__(self, markdown: str) -> None:
        super().__init__(markdown, hyperlinks=False)
