"""What tests of the terminal share: a home of their own, the command, and a real terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LEXICON = Path(sys.executable).with_name("lexicon")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Keep every test's progress apart from the others' and from the developer's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def lexicon():
    """Run the command and expect an exit code."""

    def run(*words, exit_code=0, stdin="", cwd=None, **environment):
        finished = subprocess.run(
            [LEXICON, *words],
            capture_output=True,
            input=stdin,
            cwd=cwd,
            encoding="utf-8",
            env={**os.environ, "COLUMNS": "80", **environment},
            timeout=300,
            check=False,
        )
        assert finished.returncode == exit_code, finished.stdout + finished.stderr
        return finished

    return run


@pytest.fixture
def terminal(tmp_path):
    """Run the command in a pseudo-terminal of its own, in an empty folder."""
    pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals on Windows")
    spawned = []

    class Terminal(pexpect.spawn):
        def shown(self, until):
            """Wait for a text, and return what came before it, without colours and movements."""
            self.expect_exact(until)
            return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", self.before)

    def spawn(*words, columns=100, rows=40, **environment):
        child = Terminal(
            str(LEXICON),
            list(words),
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm-256color", "PAGER": "cat", **environment},
            encoding="utf-8",
            timeout=60,
            dimensions=(rows, columns),
        )
        spawned.append(child)
        return child

    yield spawn
    for child in spawned:
        child.close(force=True)
