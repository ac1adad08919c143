import re

import pytest

from lexicon.catalog import find
from lexicon.terminal.examples import Process, Run, run_example


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "mine.py"


def run(source, path):
    source = source if isinstance(source, bytes) else source.encode()
    return Process(source, path, timeout=30.0).wait()


def shown(errors):
    """Return the files and lines that a traceback names."""
    return re.findall(r'File "(.+)", line (\d+)', errors)


def test_an_example_is_main_and_sees_its_own_folder_first(mine):
    mine.with_name("beside.py").write_text("value = 7")
    mine.with_name("colorsys.py").write_text("value = 8  # not the standard library's")
    source = (
        "import sys, beside, colorsys, __main__\n"
        "print(__name__, __main__.beside.value, colorsys.value, sys.argv, __file__, sys.path[0])"
    )
    assert run(source, mine).output == f"__main__ 7 8 ['{mine}'] {mine} {mine.parent}\n"


def test_no_other_file_stands_in_for_a_library(mine, monkeypatch):
    mine.with_name("numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    monkeypatch.chdir(mine.parent)
    assert run_example(find("softmax")).exit_code == 0
    errors = run("import quiz", mine).errors  # a module beside the runner
    assert errors.endswith("ModuleNotFoundError: No module named 'quiz'\n")


def test_a_traceback_shows_the_examples_lines_and_no_others(mine):
    finished = run("import json\nprint('a')\nvalue = json.loads('[')  # here\n", mine)
    assert finished.output == "a\n"
    assert finished.exit_code == 1
    assert shown(finished.errors) == [(str(mine), "3")]
    assert "value = json.loads('[')  # here" in finished.errors
    assert finished.errors.endswith("JSONDecodeError: Expecting value: line 1 column 2 (char 1)\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("KeyboardInterrupt", -2),
        ("GeneratorExit", 1),
        ("type('Own', (BaseException,), {})", 1),
    ],
)
def test_every_error_is_shown_whatever_became_of_the_streams(mine, error, code):
    finished = run(f"import sys\nsys.stdout = sys.stderr = None\nraise {error}\n", mine)
    assert finished.exit_code == code
    assert shown(finished.errors) == [(str(mine), "3")]


@pytest.mark.parametrize("cause", [" from error", ""], ids=["cause", "context"])
def test_a_chain_of_errors_is_shortened_throughout(mine, cause):
    source = (
        "import json\n"
        "try:\n    json.loads('[')\n"
        f"except ValueError as error:\n    raise KeyError(1){cause}\n"
    )
    errors = run(source, mine).errors
    assert ("direct cause" in errors) == bool(cause)
    assert shown(errors) == [(str(mine), "3"), (str(mine), "5")]


def test_groups_of_errors_and_errors_of_threads_are_shortened(mine):
    source = (
        "import json, threading\n"
        "def load(): json.loads('[')\n"
        "thread = threading.Thread(target=load, name='loader')\n"
        "thread.start(); thread.join()\n"
        "threading.Thread(target=exit).start()\n"
        "try: load()\n"
        "except ValueError as error: failed = error\n"
        "raise ExceptionGroup('two', [failed, ValueError(2)])\n"
    )
    errors = run(source, mine).errors
    assert shown(errors) == [(str(mine), line) for line in ("2", "8", "6", "2")]
    assert errors.startswith("Exception in thread loader:\nTraceback")
    assert errors.count("SystemExit") == 0


def test_lines_are_found_after_the_current_folder_has_changed(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)  # as `lexicon observe`, which names the file only
    mine.with_name("beside.py").write_text("def divide(): return 1 / 0")
    source = "import os, beside\nos.chdir('/')\nbeside.divide()\n"
    errors = run(source, mine.relative_to(mine.parent)).errors
    assert shown(errors) == [("mine.py", "3"), (str(mine.with_name("beside.py")), "1")]
    assert "    beside.divide()\n" in errors


@pytest.mark.parametrize("before", ["", "\f", "'\u2028'; ", "\r\n"], ids=ascii)
@pytest.mark.parametrize("end", ["", "\n"], ids=["no newline", "newline"])
def test_the_caret_points_at_what_failed(mine, before, end):
    errors = run(f"{before}one = 1; 1 / 0{end}", mine).errors
    line, carets = errors.split("\n")[2:4]
    assert line.endswith("one = 1; 1 / 0")
    assert carets.index("~^~") == line.index(" / ") + len(" / ") - 1 - 2


def test_what_cannot_be_compiled_names_its_line(mine):
    errors = run("a = 1\nb = = 2\n", mine).errors
    assert shown(errors) == [(str(mine), "2")]
    assert errors.endswith("SyntaxError: invalid syntax\n")
    for before in (b"", b"\n\n\n"):
        latin = run(before + b"# \xe9\n", mine)
        assert latin.exit_code == 1
        assert shown(latin.errors) == [(str(mine), str(len(before) + 1))]
        assert latin.errors.endswith("SyntaxError: the byte 0xe9 is not UTF-8\n")
    assert run(b"# coding: latin-1\nprint('\xe9')", mine) == Run("é\n", "", 0)
    assert run("# coding: none", mine).errors.startswith("SyntaxError: unknown encoding: none\n")


@pytest.mark.parametrize("level", [2, 3])
def test_a_warning_for_the_caller_names_the_examples_line(mine, level):
    source = f"import warnings\nwarnings.warn('hm', stacklevel={level})  # here\n"
    line = f"warnings.warn('hm', stacklevel={level})  # here"
    assert run(source, mine).errors == f"{mine}:2: UserWarning: hm\n  {line}\n"
