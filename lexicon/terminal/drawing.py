"""Draws Markdown and code in the terminal's own colours, whatever its background."""

from typing import ClassVar

from pygments.token import Comment, Generic, Keyword, Name, Number, String
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
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
        room = options.max_width - 2
        for line in code(str(self.text), self.lexer_name).split("\n"):
            indent = len(line.plain) - len(line.plain.lstrip())
            if len(line) <= room or indent > room // 2:
                yield Text.assemble("  ", line, no_wrap=True, overflow="ignore")
                continue
            # What does not fit goes on below, further in than it began.
            first, *others = line[indent:].wrap(console, room - indent - 4)
            yield Text.assemble("  ", " " * indent, first)
            for other in others:
                yield Text.assemble("  ", " " * (indent + 4), other)


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
    }

    def __init__(self, markdown: str) -> None:
        super().__init__(markdown, hyperlinks=False)
