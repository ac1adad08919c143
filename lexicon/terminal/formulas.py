"""Turns a page's formulas into signs that a terminal has."""

import re

from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
from texicode.pipeline import render_tex

__all__ = ["display", "inline"]

_BRACES = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def display(tex: str, width: int = 80) -> str:
    r"""Draw a formula over several lines: fractions, matrices and cases as on paper.

    Parameters
    ----------
    tex : str
        TeX, without its dollars.
    width : int, default 80
        Columns that there are. What does not fit is broken where TeX has a `\quad`.

    Returns
    -------
    str
        One or more lines.

    Raises
    ------
    ValueError
        If it uses a command that cannot be drawn.
    """
    drawn = _drawn(tex)
    parts = _parts(tex)
    if len(parts) == 1 or max(map(len, drawn.splitlines())) <= width:
        return drawn
    return "\n".join(map(_drawn, parts))


def _drawn(tex: str) -> str:
    try:
        drawn = render_tex(_prepared(tex), False, False, "raw", {"fonts": "normal"})
    except KeyError as error:
        raise ValueError(f"{error} is unknown in the formula {tex!r}") from error
    if drawn.startswith("TeXicode:"):
        raise ValueError(f"{drawn.partition(': ')[2]} in the formula {tex!r}")
    if "?" in drawn and "?" not in tex:  # what stands for an unknown command
        raise ValueError(f"a command is unknown in the formula {tex!r}")
    return "\n".join(line.rstrip() for line in drawn.split("\n"))


def _parts(tex: str) -> list[str]:
    """Split where there is a quad outside of braces and environments."""
    parts, depth = [""], 0
    for token in re.split(r"(\\begin|\\end|[{}]|\\q?quad\b)", tex):
        depth += {"\\begin": 1, "{": 1, "\\end": -1, "}": -1}.get(token, 0)
        if "quad" in token and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def inline(tex: str) -> str:
    """Write a formula in one line: as `display` where that takes one, else with slashes.

    Parameters
    ----------
    tex : str
        TeX, without its dollars.

    Returns
    -------
    str
        One line.

    Raises
    ------
    ValueError
        If it uses a command that cannot be drawn.
    """
    tex = re.sub(r"(?<=[\w}])\s*\\frac", r"\\,\\frac", " ".join(tex.split()))
    tex = re.sub(rf"\\frac{_BRACES}{_BRACES}", _slashed, tex)
    tex = " ".join(re.sub(rf"\\sqrt{_BRACES}", r"\\surd(\1)", tex).split())
    drawn = display(tex).strip()
    return re.sub(" +", " ", drawn if "\n" not in drawn else _linear(tex))


def _slashed(fraction: re.Match[str]) -> str:
    simple = rf"\\?\w+(?:[_^](?:\w|(?:\\text)?{_BRACES}))?"
    above, below = (
        part if re.fullmatch(simple, part) else f"({part})" for part in fraction.groups()
    )
    return rf"{above}/{below}\, "


def _prepared(tex: str) -> str:
    r"""Write with signs what is drawn too large or not at all, and give operators some air."""
    signs = {r"^\top": " ᵀ", r"\lVert": r"\|", r"\rVert": r"\|", r"\operatorname": r"\mathrm"}
    for command, sign in signs.items():
        tex = tex.replace(command, sign)
    # As a letter it leaves an indexed sum in one line.
    tex = re.sub(rf"\\sum(_(?:{_BRACES}|\w)|)(?!\^|[_{{])", r"\\Sigma\1\\,", tex)
    tex = re.sub(r"\\(log|ln|max|min|exp|tanh)\s+(?=[\w\\])", r"\\\1\\,", tex)
    tex = re.sub(r"(?<!\\),\s(?=\S)", r",\\;", tex)
    if r"\begin{aligned}" in tex:
        tex = re.sub(r"\s&\s", r"\\qquad & ", tex)
        tex = re.sub(r"&(=|\\leftarrow)\s", r"&\\;\1\\;", tex)
    air = r"(?<=\S) (\\approx|\\leftarrow|\\sim|\\le|\\ge|\\ne|\\pm|\\odot|[=+<>-])\s(?=\s*\S)"
    return re.sub(air, r"\\;\1\\;", tex)


def _linear(tex: str) -> str:
    context = get_default_latex_context_db()
    signs = {"top": "ᵀ", "sum": "Σ", "surd": "√", "log": "log "}
    macros = [MacroTextSpec(name, sign) for name, sign in signs.items()]
    context.add_context_category("lexicon", prepend=True, macros=macros)
    converter = LatexNodes2Text(
        latex_context=context, keep_braced_groups=True, strict_latex_spaces="based-on-source"
    )
    return str(converter.latex_to_text(tex)).strip()
