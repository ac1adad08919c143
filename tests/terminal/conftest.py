"""What tests of the terminal share: a home of their own, the command, and a real terminal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Keep every test's progress apart from the others' and from the developer's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(autouse=True)
def interruptible():
    """Have signals end what a test starts, also where the tests were told to ignore them."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual |= {signal.SIGHUP: signal.SIG_DFL, signal.SIGQUIT: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def program():
    """Return the installed command's file."""
    return Path(sys.executable).with_name("lexicon")


@pytest.fixture(
    params=[
        (lambda child: child.sendintr(), 130),
        (lambda child: child.kill(signal.SIGTERM), 143),
        (lambda child: child.kill(signal.SIGHUP), 129),
        (lambda child: child.send("\x1c"), 131),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "Ctrl-backslash"],
)
def leaving(request):
    """Return each way to leave a terminal, and the exit code it has to end with."""
    return request.param


@pytest.fixture(scope="session")
def is_running():
    """Return what says whether there is a process of a number."""

    def is_running(pid):
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # not yet collected
        except psutil.NoSuchProcess:
            return False

    return is_running


@pytest.fixture
def lexicon(program):
    """Run the command and expect an exit code."""

    def run(*words, exit_code=0, stdin="", cwd=None, **environment):
        finished = subprocess.run(
            [program, *words],
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
def terminal(tmp_path, program):
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
            str(program),
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
