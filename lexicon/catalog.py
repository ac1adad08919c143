"""Finds the entries and reads what they say of themselves, as text, without importing them."""

import ast
import re
import textwrap
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from lexicon import CHAPTERS

__all__ = [
    "CatalogError",
    "Check",
    "Entry",
    "Figure",
    "Knob",
    "SECTIONS",
    "chapters",
    "entries",
    "find",
    "forget",
    "imported_files",
    "turn",
]

SECTIONS = (
    "What is it?",
    "Why does it matter?",
    "How does it work?",
    "Run it.",
    "What usually goes wrong?",
    "Check yourself.",
    "Related.",
)

_PACKAGE = Path(__file__).parent
# In a wheel, pages and examples lie inside the package; in a checkout, beside it.
_ROOT = _PACKAGE if (_PACKAGE / "docs").is_dir() else _PACKAGE.parent
_CHECK = re.compile(
    r'^\?\?\? question "(?P<question>.+)"\n(?P<answer>(?:\n|    .*\n)*)', re.MULTILINE
)
_KNOB = re.compile(r"#\s*try (?P<values>[^:]+): (?P<hint>\S.*)$")


class CatalogError(Exception):
    """A page, example or module that cannot be read; the message names file and line."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}")


@dataclass(frozen=True)
class Knob:
    """A constant of an example that invites to be changed.

    Parameters
    ----------
    name : str
        The constant.
    value : object
        What the example sets it to.
    tries : tuple
        Other values to try.
    hint : str
        What to look for.
    line : int
        Where it stands.
    """

    name: str
    value: object
    tries: tuple[object, ...]
    hint: str
    line: int


@dataclass(frozen=True)
class Check:
    """A question that a page asks its reader.

    Parameters
    ----------
    question : str
        Markdown.
    answer : str
        Markdown.
    """

    question: str
    answer: str


@dataclass(frozen=True)
class Figure:
    """What a page's figure says of itself.

    Parameters
    ----------
    caption : str
        What to see in it.
    alternative : str
        What it shows, for those who cannot see it.
    """

    caption: str
    alternative: str


@dataclass(frozen=True)
class Entry:
    """One concept: a module, a page and an example at the same place in three wings.

    Parameters
    ----------
    chapter : str
        The folder.
    slug : str
        The name of its files.
    """

    chapter: str
    slug: str

    @property
    def name(self) -> str:
        """Return the module's import name."""
        return f"lexicon.{self.chapter}.{self.slug}"

    @property
    def module(self) -> Path:
        """Return the module's file."""
        return _PACKAGE / self.chapter / f"{self.slug}.py"

    @property
    def page(self) -> Path:
        """Return the page's file."""
        return _ROOT / "docs" / self.chapter / f"{self.slug}.md"

    @property
    def example(self) -> Path:
        """Return the example's file."""
        return _ROOT / "examples" / self.chapter / f"{self.slug}.py"

    @property
    def figure_code(self) -> Path:
        """Return the file that draws the page's figure; not every page has one."""
        return self.page.with_suffix(".py")

    @cached_property
    def title(self) -> str:
        """Return the page's H1."""
        first = _read(self.page).split("\n", 1)[0]
        if not re.match(r"# \S", first):
            raise CatalogError(self.page, 1, "the page must begin with '# ' and a title")
        return first[2:].strip()

    @cached_property
    def summary(self) -> str:
        """Return the first line of the module's docstring."""
        return self._docstring.split("\n", 1)[0]

    @cached_property
    def references(self) -> list[str]:
        """Return the sources that the module's docstring lists."""
        _, found, section = self._docstring.partition("\nReferences\n----------\n")
        references: list[str] = []
        for line in section.splitlines():
            if line.startswith("    ") and references:
                references[-1] += " " + line.strip()
            elif line.strip():
                references.append(line.strip())
        if not found or not references:
            raise CatalogError(self.module, 1, "the docstring needs a References section")
        return references

    @cached_property
    def imports(self) -> list[str]:
        """Return the modules of this package that the module imports, as it names them."""
        return _imports(self.module)

    @cached_property
    def prerequisites(self) -> "list[Entry]":
        """Return the entries that the module imports, in reading order."""
        return [entry for entry in entries() if entry.name in self.imports]

    @cached_property
    def path(self) -> "list[Entry]":
        """Return all that this entry stands on, directly or not, in reading order, and itself."""
        needed = {self}
        for entry in self.prerequisites:
            needed.update(entry.path)
        return [entry for entry in entries() if entry in needed]

    @cached_property
    def dependents(self) -> "list[Entry]":
        """Return the entries whose modules import this one, in reading order."""
        return [entry for entry in entries() if self.name in entry.imports]

    @cached_property
    def question(self) -> str:
        """Return the first line of the example's docstring."""
        docstring = ast.get_docstring(_parse(self.example)) or ""
        question = docstring.split("\n", 1)[0]
        if not question.endswith("?"):
            raise CatalogError(self.example, 1, "the docstring's first line must be a question")
        return question

    @cached_property
    def knobs(self) -> list[Knob]:
        """Return the example's commented constants."""
        source = _read(self.example)
        lines = source.splitlines()
        knobs = []
        for node in _parse(self.example).body:
            if not isinstance(node, ast.Assign) or "# try" not in lines[node.lineno - 1]:
                continue
            comment = _KNOB.search(lines[node.lineno - 1])
            target = node.targets[0]
            if not comment or not isinstance(target, ast.Name) or node.end_lineno != node.lineno:
                raise CatalogError(
                    self.example,
                    node.lineno,
                    "a knob reads: NAME = literal  # try VALUE[, VALUE...]: what to look for",
                )
            try:
                value = ast.literal_eval(node.value)
                tries = ast.literal_eval(f"({comment['values']},)")
            except (ValueError, SyntaxError) as error:
                raise CatalogError(
                    self.example, node.lineno, f"{target.id} and its values must be literals"
                ) from error
            knobs.append(Knob(target.id, value, tries, comment["hint"].strip(), node.lineno))
        if not knobs:
            raise CatalogError(self.example, 1, "the example needs at least one knob")
        return knobs

    @cached_property
    def checks(self) -> list[Check]:
        """Return the questions and answers of the page's section *Check yourself*."""
        page = _read(self.page)
        checks = []
        for match in _CHECK.finditer(page):
            answer = textwrap.dedent(match["answer"]).strip()
            if not answer:
                line = page.count("\n", 0, match.start()) + 1
                raise CatalogError(self.page, line, "the question needs an answer, indented")
            checks.append(Check(match["question"], answer))
        return checks

    @cached_property
    def figure(self) -> Figure | None:
        """Return the caption and the alternative text of the page's figure, if it has one."""
        if not self.figure_code.is_file():
            return None
        docstring = ast.get_docstring(_parse(self.figure_code)) or ""
        caption, _, alternative = docstring.partition("\n\n")
        if not alternative.strip():
            what = "the docstring must be a caption, an empty line, and an alternative text"
            raise CatalogError(self.figure_code, 1, what)
        return Figure(" ".join(caption.split()), " ".join(alternative.split()))

    @cached_property
    def _docstring(self) -> str:
        docstring = ast.get_docstring(_parse(self.module))
        if not docstring:
            raise CatalogError(self.module, 1, "the module needs a docstring")
        return docstring


def chapters() -> dict[str, str]:
    """Return each chapter's name and one-line description, in reading order."""
    return {name: ast.get_docstring(_parse(_init(name))) or "" for name in CHAPTERS}


def entries(chapter: str | None = None) -> list[Entry]:
    """Return all entries, or those of one chapter, in reading order.

    Parameters
    ----------
    chapter : str, optional
        The chapter's name.

    Returns
    -------
    list of Entry
        The entries.

    Raises
    ------
    CatalogError
        If a chapter's ``ENTRIES`` cannot be read.
    """
    if not _ENTRIES:
        _ENTRIES.extend(Entry(name, slug) for name in CHAPTERS for slug in _listed(_init(name)))
    return [entry for entry in _ENTRIES if chapter in (None, entry.chapter)]


_ENTRIES: list[Entry] = []


def forget() -> None:
    """Read all files anew from now on: some have changed."""
    _ENTRIES.clear()


def find(slug: str) -> Entry:
    """Return the entry of that name.

    Parameters
    ----------
    slug : str
        An entry's slug; ``chapter/slug``, spaces and hyphens do as well.

    Raises
    ------
    KeyError
        If there is none; the message offers the nearest names.
    """
    wanted = slug.split("/")[-1].strip().lower().replace("-", "_").replace(" ", "_")
    by_slug = {entry.slug: entry for entry in entries()}
    if wanted in by_slug:
        return by_slug[wanted]
    near = get_close_matches(wanted, by_slug, n=3, cutoff=0.5)
    raise KeyError(f"no entry {slug!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def imported_files(path: Path) -> list[Path]:
    """Return all of this package's files that a file depends on, directly or not.

    Parameters
    ----------
    path : Path
        A Python file.

    Returns
    -------
    list of Path
        Sorted; for a package among them, all its files, data included.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for name in _imports(waiting.pop()):
            target = _PACKAGE.parent.joinpath(*name.split("."))
            package = sorted(p for p in target.glob("*") if p.is_file())
            for file in package or [target.with_suffix(".py")]:
                if file not in found:
                    found.add(file)
                    waiting += [file] if file.suffix == ".py" else []
    return sorted(found)


def turn(source: str, knob: Knob, value: object) -> str:
    """Return an example's source with one knob set to another value.

    Parameters
    ----------
    source : str
        The example.
    knob : Knob
        One of its knobs.
    value : object
        A literal.

    Returns
    -------
    str
        The same source, one line changed.
    """
    lines = source.splitlines(keepends=True)
    comment = lines[knob.line - 1].partition("#")[2]
    lines[knob.line - 1] = f"{knob.name} = {value!r}  #{comment}"
    return "".join(lines)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return list(dict.fromkeys(name for name in names if name.split(".")[0] == "lexicon"))


def _init(chapter: str) -> Path:
    return _PACKAGE / chapter / "__init__.py"


def _listed(path: Path) -> list[str]:
    for node in _parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ENTRIES":
            listed = ast.literal_eval(node.value)
            return [str(slug) for slug in listed]
    raise CatalogError(path, 1, "the chapter needs a list ENTRIES")


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(_read(path))
    except SyntaxError as error:
        raise CatalogError(path, error.lineno or 1, error.msg) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CatalogError(path, 1, "the file is missing") from error
