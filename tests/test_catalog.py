import ast
from pathlib import Path

import pytest

from lexicon import CHAPTERS, catalog
from lexicon.catalog import CatalogError, Entry, chapters, entries, find, imported_files, turn

MODULE = '''"""A thing is what it is.

References
----------
Author, A. (1999). A title that is long enough to
    be wrapped. A journal.
Other, B. (2001). Another. Elsewhere.
"""

import numpy as np

from lexicon.sparsity.mask import top_k
'''
EXAMPLE = '''"""What happens?"""

K = 5  # try 1, 64: fewer, or all of them
NAME = "a"  # try "b": another letter
print(K, NAME)
'''


@pytest.fixture
def entry(tmp_path, monkeypatch):
    entries()  # the real ones are read before the folder changes
    monkeypatch.setattr(catalog, "_PACKAGE", tmp_path / "lexicon")
    monkeypatch.setattr(catalog, "_ROOT", tmp_path)
    thing = Entry("sparsity", "thing")
    for path, text in [
        (thing.module, MODULE),
        (thing.page, "# A thing\n\n## What is it?\n"),
        (thing.example, EXAMPLE),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return thing


def test_an_entry_says_what_its_files_say(entry):
    assert entry.title == "A thing"
    assert entry.summary == "A thing is what it is."
    assert entry.references == [
        "Author, A. (1999). A title that is long enough to be wrapped. A journal.",
        "Other, B. (2001). Another. Elsewhere.",
    ]
    assert entry.imports == ["lexicon.sparsity.mask"]
    assert entry.prerequisites == [find("mask")]
    assert entry.question == "What happens?"
    k, name = entry.knobs
    assert (k.name, k.value, k.tries, k.hint, k.line) == (
        "K",
        5,
        (1, 64),
        "fewer, or all of them",
        3,
    )
    assert (name.name, name.value, name.tries) == ("NAME", "a", ("b",))


@pytest.mark.parametrize(
    ("wing", "text", "attribute", "message"),
    [
        ("page", "A thing\n", "title", "thing.md:1: the page must begin"),
        ("page", "#\n", "title", "thing.md:1: the page must begin"),
        ("module", "x = 1\n", "summary", "thing.py:1: the module needs a docstring"),
        ("module", '"""A thing."""\n', "references", "thing.py:1: .* References"),
        ("module", '"""A thing."""\nx = (\n', "summary", r"thing.py:2: '\(' was never closed"),
        ("example", '"""No question."""\n', "question", "thing.py:1: .* must be a question"),
        ("example", '"""What?"""\nK = 5\n', "knobs", "thing.py:1: .* at least one knob"),
        ("example", '"""What?"""\n\nK = f()  # try 1: x\n', "knobs", "thing.py:3: K and its"),
        ("example", '"""What?"""\n\nK = 5  # try one: x\n', "knobs", "thing.py:3: K and its"),
        ("example", '"""What?"""\n\nK = 5  # try 1\n', "knobs", "thing.py:3: a knob reads"),
        ("example", '"""What?"""\n\na.b = 5  # try 1: x\n', "knobs", "thing.py:3: a knob reads"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(entry, wing, text, attribute, message):
    getattr(entry, wing).write_text(text)
    with pytest.raises(CatalogError, match=message):
        getattr(entry, attribute)


def test_a_missing_file_is_named(entry):
    entry.page.unlink()
    with pytest.raises(CatalogError, match=r"thing\.md:1: the file is missing"):
        entry.title  # noqa: B018


def test_a_chapter_without_entries_is_named(entry, monkeypatch):
    monkeypatch.setattr(catalog, "_ENTRIES", [])
    monkeypatch.setattr(catalog, "CHAPTERS", ("sparsity",))
    (entry.module.parent / "__init__.py").write_text('"""A chapter."""\n')
    with pytest.raises(CatalogError, match=r"__init__\.py:1: the chapter needs a list ENTRIES"):
        entries()


def test_turning_a_knob_changes_one_line(entry):
    k, name = entry.knobs
    assert turn(EXAMPLE, k, 64) == EXAMPLE.replace("K = 5", "K = 64")
    assert turn(EXAMPLE, name, "#") == EXAMPLE.replace('NAME = "a"', "NAME = '#'")


def test_entries_come_in_reading_order():
    assert list(chapters()) == list(CHAPTERS)
    assert all(description.endswith(".") for description in chapters().values())
    assert [e.chapter for e in entries()] == sorted(
        (e.chapter for e in entries()), key=CHAPTERS.index
    )
    assert entries("architectures") == [e for e in entries() if e.chapter == "architectures"]


def test_a_path_holds_everything_needed_in_order_and_nothing_else():
    path = find("rewiring").path
    assert path[-1] == find("rewiring")
    assert path[0].prerequisites == []
    for entry in path:
        assert set(entry.prerequisites) <= set(path[: path.index(entry)])
    assert find("mlp") not in path
    assert find("rewiring") in find("csr_layer").dependents


@pytest.mark.parametrize("name", ["k_wta", "K-WTA", "sparsity/k_wta", " k wta "])
def test_find_forgives_spelling(name):
    assert find(name).slug == "k_wta"


def test_an_unknown_entry_gets_the_nearest_names():
    with pytest.raises(KeyError, match="no entry 'kwta'; did you mean k_wta"):
        find("kwta")
    with pytest.raises(KeyError, match="no entry 'zzz'\""):
        find("zzz")


def test_imported_files_are_found_through_imports_of_imports(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from lexicon.data import load_digits\nimport lexicon.sparsity.k_wta\n")
    package = Path(catalog.__file__).parent
    found = {path.relative_to(package).as_posix() for path in imported_files(script)}
    assert {"data/digits.npz", "data/digits.py", "sparsity/k_wta.py", "sparsity/mask.py"} <= found
    assert "foundations/linear_layer.py" in found  # through mask
    assert "sparsity/csr_layer.py" not in found


def test_the_catalog_imports_no_entry():
    tree = ast.parse(Path(catalog.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name and name.startswith("lexicon")} == {"lexicon"}
