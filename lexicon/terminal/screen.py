"""The console: how wide and in which colours, so that light and dark terminals can show it."""

from rich.console import Console
from rich.theme import Theme

__all__ = ["WIDEST", "console"]

WIDEST = 104  # a line of code and its margin; prose wider than that is hard to read

_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.block_quote": "none",
        "markdown.h1": "bold",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
        "markdown.item.bullet": "none",
        "markdown.item.number": "none",
        "markdown.link": "none",
        "markdown.link_url": "none",
    }
)


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or error; it has no colours where none are wanted."""
    return Console(stderr=stderr, highlight=False, theme=_THEME, emoji=False)
