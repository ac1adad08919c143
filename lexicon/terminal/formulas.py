"""Turns a page's formulas into signs that a terminal has.

TeXicode draws them. What stands here prepares a formula for it: gives operators some air, and for a
formula within a sentence replaces what would take several lines by what takes one.
"""

import re
from collections.abc import Callable

from texicode.pipeline import render_tex

__all__ = ["display", "inline", "split_at_quads"]

_INSIDE = r"[^{}]*"
for _ in range(5):  # as deep as braces may nest
    _INSIDE = rf"(?:[^{{}}]|\{{{_INSIDE}\}})*"
_GROUP = rf"\{{{_INSIDE}\}}"
_IN_GROUP = rf"\{{({_INSIDE})\}}"
_FUNCTION = r"\\(?:arg|log|ln|max|min|exp|sin|cos|tanh|sup|inf|lim|det)(?![a-zA-Z])"
_RELATION = (
    r"\\(?:approx|leftarrow|rightarrow|to|sim|le|leq|ge|geq|ne|pm|odot|otimes|times|in|mid|cup|cap"
    r"|subseteq|propto|gg|ll|parallel|mapsto)(?![a-zA-Z])"
)
_SCRIPT = rf"([_^])\s*(?:{_IN_GROUP}|\\text{_GROUP}|\\[a-zA-Z]+|[\w*])"
_ATOM = rf"(?:\\(?:hat|bar|tilde|text|mathrm|sqrt){_GROUP}|\\[a-zA-Z]+|\d+(?:\.\d+)?|\w)"
_ON_THE_LINE = {"^": "上", "_": "下"}  # stand for the signs while a formula is drawn
_REPLACED = {
    r"^\top": " ᵀ",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\operatorname*": r"\mathrm",
    r"\operatorname": r"\mathrm",
    r"\boldsymbol": r"\mathbf",
    r"\mathbb{1}": "𝟙",
    r"\mathbf{1}": "𝟏",
    r"\neq": r"\ne",
}


def display(tex: str, width: int = 80) -> str:
    r"""Draw a formula over several lines: fractions, matrices and cases as on paper.

    Parameters
    ----------
    tex : str
        TeX, without its dollars.
    width : int, default 80
        Columns that there are. What does not fit is broken where TeX has a `\qquad`, then where it
        has a `\quad`.

    Returns
    -------
    str
        One or more lines.

    Raises
    ------
    ValueError
        If it uses a command that cannot be drawn.
    """
    rows = [tex]
    for quad in (r"\\qquad\b", r"\\q?quad\b"):
        if all(_width(row) <= width for row in rows):
            break
        rows = []
        for part in split_at_quads(tex, quad):
            if rows and _width(rf"{rows[-1]} \qquad {part}") <= width:
                rows[-1] += rf" \qquad {part}"
            else:
                rows.append(part)
    return "\n\n".join(_drawn(_prepared(row)) for row in rows)


def inline(tex: str) -> str:
    """Write a formula in one line, fractions with slashes.

    Parameters
    ----------
    tex : str
        TeX, without its dollars.

    Returns
    -------
    str
        One line. Subscripts and superscripts that have no small signs stand on the line, behind
        ``_`` and ``^``.

    Raises
    ------
    ValueError
        If it uses a command that cannot be drawn, or takes several lines.
    """
    tex = " ".join(tex.split())
    tex = _until_the_same(rf"\\[dt]?frac{_IN_GROUP}{_IN_GROUP}", _slashed, tex)
    tex = _until_the_same(rf"\\sqrt(?:\[(\w)\])?\s*(?:{_IN_GROUP}|(\w))", _root, tex)
    tex = re.sub(r"\\sum(?![a-z])", r"\\Sigma", re.sub(r"\\prod(?![a-z])", r"\\Pi", tex))
    tex = re.sub(rf"(\\(?:Sigma|Pi)(?![a-z])\s*(?:{_SCRIPT})*)", r"\1\\,", tex)
    tex = re.sub(r"\\(left|right|[Bb]igg?[lr]?)(?![a-z])\.?", "", tex)
    drawn = _drawn(re.sub(_SCRIPT, _on_the_line, _prepared(tex))).strip()
    if "\n" in drawn:
        raise ValueError(f"it takes several lines: the formula {tex!r}")
    for sign, stand_in in _ON_THE_LINE.items():
        drawn = drawn.replace(stand_in, sign)
    drawn = re.sub(r"(?<=[(\[⌊⌈]) +| +(?=[,)\]⌋⌉])", "", re.sub(" +", " ", drawn))
    return re.sub(r" +(?=[_^][(\w])", "", drawn)


def _width(tex: str) -> int:
    return max(map(len, _drawn(_prepared(tex)).split("\n")))


def split_at_quads(tex: str, quad: str = r"\\q?quad\b") -> list[str]:
    r"""Split a formula into those that stand side by side.

    Parameters
    ----------
    tex : str
        TeX, without its dollars.
    quad : str, optional
        Pattern of what parts them, outside of braces and environments; a `\quad` or `\qquad` if
        left out.

    Returns
    -------
    list of str
        One or more formulas.
    """
    parts, depth = [""], 0
    for token in re.split(rf"(\\begin|\\end|[{{}}]|{quad})", tex):
        depth += {"\\begin": 1, "{": 1, "\\end": -1, "}": -1}.get(token, 0)
        if re.fullmatch(quad, token) and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def _until_the_same(pattern: str, change: Callable[[re.Match[str]], str], tex: str) -> str:
    before = None
    while tex != before:
        before, tex = tex, re.sub(pattern, change, tex, count=1)
    return tex


def _slashed(fraction: re.Match[str]) -> str:
    """Write a fraction with a slash, in parentheses where it stands beside another factor."""
    simple = rf"{_ATOM}(?:[_^](?:\w|(?:\\text)?{_GROUP}))*"
    above, below = (
        part if re.fullmatch(simple, part.strip()) else f"({part.strip()})"
        for part in fraction.groups()
    )
    before = fraction.string[: fraction.start()].rstrip()
    after = fraction.string[fraction.end() :].lstrip()
    apart = rf"(?:{_RELATION}|{_FUNCTION}|\\(?:cdot|q?quad|left|right|end)(?![a-z])|\\[,;}}\\])"
    last = re.search(r"\\[a-zA-Z]+$|\\.$", before)
    factor_after = re.match(r"[\w(|\\]", after) and not re.match(apart, after)
    factor_before = re.search(r"[\w)}]$", before) and not (last and re.fullmatch(apart, last[0]))
    written = f"{above}/{below}"
    return rf"\,({written})\, " if factor_after or factor_before else rf"{written}\, "


def _root(root: re.Match[str]) -> str:
    degree, group, letter = root.groups()
    part = (group if letter is None else letter).strip()
    alone = re.fullmatch(r"\d+(?:\.\d+)?|\w|\\[a-zA-Z]+", part)
    degrees = {None: "", "3": "³", "4": "⁴", "n": "ⁿ"}
    return rf"{degrees[degree]}\surd " + (part if alone else f"({part})") + " "


def _on_the_line(script: re.Match[str]) -> str:
    """Leave small what has small signs, and write the rest in parentheses if it is long."""
    group = script[2] if script[2] is not None else script[0][1:].strip()
    small = _drawn("x" + script[0])
    # There is no small y; a gamma would stand in for it.
    if "\n" not in small and not ("ᵧ" in small and r"\gamma" not in group):
        return script[0]
    group = group.removesuffix(r"\,")
    inner = re.sub(_SCRIPT, _on_the_line, group)
    alone = re.fullmatch(r"[\w*]|\\[a-zA-Z]+|\\text\{\w*\}|\(.*\)", group.strip())
    return f" {_ON_THE_LINE[script[1]]}" + (f"{inner} " if alone else f"({inner})")


def _prepared(tex: str) -> str:
    """Replace what is drawn too large or not at all, and give operators some air."""
    for command, sign in _REPLACED.items():
        tex = tex.replace(command, sign)
    tex = re.sub(rf"\\underset{_IN_GROUP}{_IN_GROUP}", r"{\2}_{\1}", tex)
    # Of these capitals there are no small signs; other letters would stand in for them.
    for capital in (r"(_)(?:([ISVXY])|\{([ISVXY])\})", r"(\^)(?:([FSXYZ])|\{([FSXYZ])\})"):
        tex = re.sub(capital, r"\1{\2\3\\,}", tex)
    # As a letter, a sum over one index stays in one line.
    tex = re.sub(rf"\\sum(_(?:{_GROUP}|\w)|)(?!\^|[_{{])", r"\\Sigma\1\\,", tex)
    # Of a sign's two scripts, the upper one beside the lower one and not above it.
    script = rf"(?:\w|\\text{_GROUP}|{_GROUP})"
    tex = re.sub(rf"(\^{script})(_{script})", r"\2\1", tex)
    both = rf"((?<![\\a-zA-Z])\\?[a-zA-Z]+|\\\||[)\]|])(_{script})(?=\^)"
    large = (r"\sum", r"\prod", r"\int")
    tex = re.sub(both, lambda m: m[0] if m[1] in large else f"{{{m[1]}{m[2]}}}", tex)
    tex = re.sub(rf"(?<=[\w)\]}}|])\s*({_FUNCTION})", r"\\,\1", tex)
    scripts = rf"(?:_(?:\w|{_GROUP})|)(?:\^\w|)"
    tex = re.sub(rf"({_FUNCTION}{scripts})\s*(?=[A-Za-z0-9|]|\\(?!left))", r"\1\\,", tex)
    tex = re.sub(r"-\s*(?=\\frac)", r"-\\,", tex)
    tex = re.sub(r"(?<!\\),\s(?=\S)", r",\\;", tex)
    if r"\begin{aligned}" in tex:
        tex = re.sub(r"\s&\s", r"\\qquad & ", tex)
        tex = re.sub(r"&(=|\\leftarrow)\s", r"&\\;\1\\;", tex)
    tex = re.sub(rf"(?<=[^\s;&])\s*({_RELATION})\s*(?=\S)", r"\\;\1\\;", tex)
    return re.sub(r"(?<=\S) +([=+<>-])\s(?=\s*\S)", r"\\;\1\\;", tex)


def _drawn(tex: str) -> str:
    try:
        drawn = render_tex(tex, False, False, "raw", {"fonts": "normal"})
    except KeyError as error:
        raise ValueError(f"{error} is unknown in the formula {tex!r}") from error
    if drawn.startswith("TeXicode:"):
        raise ValueError(f"{drawn.partition(': ')[2]} in the formula {tex!r}")
    if "?" in drawn and "?" not in tex:  # what stands for an unknown command
        raise ValueError(f"a command is unknown in the formula {tex!r}")
    return "\n".join(line.rstrip() for line in drawn.split("\n"))
