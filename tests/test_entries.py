"""The battery: discovers every entry and holds it to the floor plan, new ones included."""

import ast
import contextlib
import doctest
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpydoc.validate import validate

from lexicon import CHAPTERS
from lexicon.catalog import SECTIONS, Entry, entries, turn

ROOT = Path(__file__).parent.parent
ENTRIES = entries()
KNOBS = [
    pytest.param(entry, knob, value, id=f"{entry.slug}-{knob.name}={value!r}")
    for entry in ENTRIES
    if entry.example.is_file()
    for knob in entry.knobs
    for value in knob.tries
]
# What numpydoc asks for and a one-screen module does without: extended summaries, Examples and
# See Also sections, and a capital first letter, which η and ζ do not have.
UNASKED = {"ES01", "EX01", "PR08", "SA01"}

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.slug)


def own_test(entry: Entry) -> Path:
    return ROOT / "tests" / entry.chapter / f"test_{entry.slug}.py"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def prose(entry: Entry) -> str:
    page = entry.page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)


def public(entry: Entry) -> list[str]:
    return list(importlib.import_module(entry.name).__all__)


def protocols(entry: Entry) -> set[str]:
    """Name the contracts for type checkers: there is nothing in them to call or construct."""
    module = importlib.import_module(entry.name)
    return {
        name for name in module.__all__ if getattr(getattr(module, name), "_is_protocol", False)
    }


def members(entry: Entry) -> Iterator[str]:
    """Name everything public: functions, classes, and the classes' own methods and properties."""
    module = importlib.import_module(entry.name)
    for name in module.__all__:
        yield name
        value = getattr(module, name)
        if isinstance(value, type):
            for attribute, member in vars(value).items():
                is_ours = callable(member) or isinstance(member, property | classmethod)
                if is_ours and not attribute.startswith("_"):
                    yield f"{name}.{attribute}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_wings_hold_the_listed_entries_and_nothing_else(chapter):
    listed = {entry.slug for entry in ENTRIES if entry.chapter == chapter}
    assert listed, "an empty chapter"
    wings = {
        "lexicon": {p.stem for p in (ROOT / "lexicon" / chapter).glob("*.py")} - {"__init__"},
        "docs": {p.stem for p in (ROOT / "docs" / chapter).glob("*.md")} - {"index"},
        "examples": {p.stem for p in (ROOT / "examples" / chapter).glob("*.py")},
        "tests": {
            p.stem.removeprefix("test_") for p in (ROOT / "tests" / chapter).glob("test_*.py")
        },
    }
    assert wings == dict.fromkeys(wings, listed)
    assert {p.stem for p in (ROOT / "docs" / chapter).glob("*.py")} <= listed


@each_entry
def test_a_figure_says_what_to_see_and_is_drawn_by_the_entry_itself(entry):
    placed = entry.page.read_text(encoding="utf-8").count("\n\n<!-- figure -->\n\n")
    assert placed == (entry.figure is not None)
    if entry.figure:
        assert 8 <= len(entry.figure.caption.split()) <= 60
        assert 15 <= len(entry.figure.alternative.split()) <= 150
        tree = parsed(entry.figure_code)
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        assert entry.name in imported
        tops = {name.split(".")[0] for name in imported}
        assert tops <= {"lexicon", "numpy", "matplotlib"} | sys.stdlib_module_names
        assert len(entry.figure_code.read_text(encoding="utf-8").splitlines()) <= 70


@each_entry
def test_what_an_entry_needs_comes_before_it(entry):
    before = ENTRIES[: ENTRIES.index(entry)]
    assert [other.slug for other in entry.prerequisites if other not in before] == []


def test_slugs_are_unique():
    slugs = [entry.slug for entry in ENTRIES]
    assert len(slugs) == len(set(slugs))


@each_entry
def test_page_has_all_sections_in_order(entry):
    headings = re.findall(r"^## (.+)$", prose(entry), flags=re.MULTILINE)
    assert entry.title
    assert tuple(headings) == SECTIONS


@each_entry
def test_numbered_steps_count_on(entry):
    """A paragraph or a formula between two steps, if it is not indented, makes the second a 1.

    Right behind an indented one, without a free line, a step becomes a part of it.
    """
    follows, before = 1, ""
    for line in prose(entry).splitlines():
        step = re.match(r"(\d+)\. ", line)
        if step and (follows > 1 or not before):
            assert int(step[1]) == follows, line
            assert not before.startswith("    "), line
            follows += 1
        elif line and not line.startswith(" "):
            follows = 1
        before = line


@each_entry
def test_page_includes_its_files(entry):
    sections = dict(
        zip(SECTIONS, re.split(r"^## .+$", prose(entry), flags=re.MULTILINE)[1:], strict=True)
    )
    for section, marker in [
        ("How does it work?", "<!-- source -->"),
        ("Run it.", "<!-- run -->"),
        ("Related.", "<!-- related -->"),
    ]:
        assert sections[section].count(marker) == 1, f"{marker} belongs once into {section!r}"
    questions = sections["Check yourself."].count("??? question")
    pitfalls = len(re.findall(r"^### ", sections["What usually goes wrong?"], flags=re.MULTILINE))
    assert 2 <= questions <= 4
    assert 2 <= pitfalls <= 4


@each_entry
def test_page_is_short_enough_to_read(entry):
    assert 600 <= len(prose(entry).split()) <= 1250


@each_entry
def test_page_mentions_everything_public(entry):
    page = entry.page.read_text(encoding="utf-8")
    assert [name for name in public(entry) if not re.search(rf"\b{name}\b", page)] == []


@each_entry
def test_sessions_on_the_page_run(entry):
    # Everything but the sessions becomes a blank line, so that a failure names the page's own.
    lines, inside = [], False
    for line in entry.page.read_text(encoding="utf-8").splitlines():
        inside = line.startswith("```pycon") or (inside and not line.startswith("```"))
        lines.append(line if inside and not line.startswith("```") else "")
    text = "\n".join(lines) + "\n"
    session = doctest.DocTestParser().get_doctest(text, {}, entry.slug, str(entry.page), 0)
    report = io.StringIO()
    failed, attempted = doctest.DocTestRunner().run(session, out=report.write)
    assert attempted > 0, "a page shows its pitfalls in sessions"
    assert failed == 0, report.getvalue()


@each_entry
def test_module_imports_only_what_it_may(entry):
    earlier = {other.name for other in ENTRIES[: ENTRIES.index(entry)]}
    for node in ast.walk(parsed(entry.module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            known = top in {"numpy", "scipy"} or top in sys.stdlib_module_names
            assert known or name in earlier, f"{name} is not an earlier entry"


@each_entry
def test_module_is_short_and_names_its_sources(entry):
    source = entry.module.read_text(encoding="utf-8")
    tree = ast.parse(source)
    docstrings = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    code = [
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and number not in docstrings
    ]
    assert len(code) <= 120
    assert entry.summary.endswith(".")
    for reference in entry.references:
        assert re.fullmatch(r"[^()]+ \(\d{4}\)\. .+\.", reference), reference


@each_entry
def test_everything_public_is_documented(entry):
    problems = {
        name: [
            f"{code} {what}"
            for code, what in validate(f"{entry.name}.{name}")["errors"]
            if code not in UNASKED
        ]
        for name in members(entry)
        if name not in protocols(entry)
    }
    assert {name: found for name, found in problems.items() if found} == {}


@each_entry
def test_everything_public_is_used_by_its_own_test(entry):
    tree = parsed(own_test(entry))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    unused = [
        name
        for name in members(entry)
        if name.split(".")[0] not in protocols(entry) and name.split(".")[-1] not in used
    ]
    assert unused == []


@each_entry
def test_every_backward_is_gradient_checked(entry):
    differentiable = {
        node.name
        for node in parsed(entry.module).body
        if isinstance(node, ast.ClassDef)
        and not any(ast.unparse(base) == "Protocol" for base in node.bases)
        and any(isinstance(f, ast.FunctionDef) and f.name == "backward" for f in node.body)
    }
    checked = set()
    for node in parsed(own_test(entry)).body:
        if isinstance(node, ast.FunctionDef):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if names & {"check_layer", "check_loss"}:
                checked |= names
    assert differentiable - checked == set()


@each_entry
def test_example_runs_alone(entry):
    assert entry.question
    finished = subprocess.run(
        [sys.executable, str(entry.example)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout == output_of(entry.example.read_text(encoding="utf-8"))


@each_entry
def test_example_is_small_and_has_knobs(entry):
    source = entry.example.read_text(encoding="utf-8")
    assert 10 <= len(source.splitlines()) <= 50
    assert 2 <= len(entry.knobs) <= 4
    names = {node.id for node in ast.walk(parsed(entry.example)) if isinstance(node, ast.Name)}
    assert "__name__" not in names
    assert max(len(line) for line in output_of(source).splitlines()) <= 80


@pytest.mark.thorough
@pytest.mark.parametrize(("entry", "knob", "value"), KNOBS)
def test_knob_changes_the_output(entry, knob, value):
    source = entry.example.read_text(encoding="utf-8")
    assert type(value) is type(knob.value)
    assert output_of(turn(source, knob, value)) != output_of(source)


def test_entries_import_nothing_beyond_numpy_and_scipy():
    names = [entry.name for entry in ENTRIES]
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('lexicon.')))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    tops, ours = (line.split() for line in finished.stdout.splitlines())
    foreign = {"typer", "rich", "watchfiles", "platformdirs", "threadpoolctl"}
    foreign |= {"matplotlib", "mkdocs", "math_core", "sklearn", "hypothesis", "pytest"}
    foreign |= {"filelock", "rapidfuzz", "texicode", "pygments", "psutil", "joblib"}
    assert foreign.isdisjoint(tops)
    assert set(ours) == set(names) | {f"lexicon.{chapter}" for chapter in CHAPTERS}


_outputs: dict[str, str] = {}


def output_of(source: str) -> str:
    if source not in _outputs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "<example>", "exec"), {"__name__": "__main__"})
        _outputs[source] = printed.getvalue()
    return _outputs[source]
