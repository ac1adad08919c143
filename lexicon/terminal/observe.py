"""Watches a file and runs it at every save: edit, run, observe.

A run is ended with all it started, but for a daemon that has left its session for one of its own.
"""

import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text
from watchfiles import watch

from lexicon.terminal.differences import comparison
from lexicon.terminal.examples import Process, Run, ended_by_signals

__all__ = ["observe"]

_TICK = 100  # milliseconds between looks at the keyboard and the run
_SOON = 1.0  # seconds in which a run may end before its line says that it is running
_OUTPUT = (200, 0)  # lines shown at most, of the beginning and of the end
_ERRORS = (10, 20)  # the message stands at the end
_MOST_CHARACTERS = 1000
_MOST_EDITS = 5
_CONTROLS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, movements
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True)
class _Version:
    """A file as it was found once."""

    stamp: tuple[int, int] = (0, 0)
    source: bytes = b""
    problem: str = ""

    @classmethod
    def read(cls, path: Path) -> "_Version":
        try:
            status = path.stat()
            return cls((status.st_mtime_ns, status.st_ino), path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return cls(problem="is gone; it runs again when it is back.")
        except OSError as error:
            return cls(problem=f"cannot be read ({error.strerror}); it runs again when it can be.")

    def lines(self) -> list[str]:
        return _plain(self.source.decode(errors="replace")).splitlines()


def observe(path: Path, *, timeout: float, console: Console) -> None:
    """Run a file now and at every save, until q is pressed.

    Parameters
    ----------
    path : Path
        The file.
    timeout : float
        Seconds after which a run is ended.
    console : Console
        Where to show what it prints.
    """
    with _single_keys() as key, ended_by_signals():
        _Observer(path, timeout, console, key).loop()


class _Observer:
    def __init__(
        self, path: Path, timeout: float, console: Console, key: Callable[[], str] | None
    ) -> None:
        self.path, self.timeout, self.console, self.key = path, timeout, console, key
        self.version = _Version()
        self.process: Process | None = None
        self.succeeded: tuple[_Version, str] | None = None
        self.runs = 0
        self.began = 0.0
        self.says_running = False

    def loop(self) -> None:
        """Look at the file, the run and the keyboard in turn."""
        try:
            self.look()
            for _ in watch(
                self.path.parent,
                step=30,
                rust_timeout=_TICK,
                yield_on_timeout=True,
                recursive=False,
            ):
                if self.key and self.key() == "q":
                    return
                self.look()
                self.finish()
        finally:
            self.end()

    def look(self) -> None:
        """Start a run if the file was saved; a run of what it was before is ended."""
        version = _Version.read(self.path)
        if version == self.version:
            return
        if not version.source and not version.problem:
            return  # a slow save empties the file first
        self.end()
        self.version = version
        if version.problem:
            self.console.print(f"{self.path.name} {version.problem}", markup=False)
            return
        self.runs += 1
        self.headline(version)
        with suppress(OSError):
            os.chdir(self.path.parent)  # deleted and made again, it is another folder
        self.began = time.monotonic()
        self.process = Process(version.source, Path(self.path.name), timeout=self.timeout)

    def finish(self) -> None:
        """Show what a run left behind, if it has ended."""
        if self.process is None:
            return
        run = self.process.poll(0)
        if run is None:
            self.say_running()
            return
        self.process = None
        self.erase_running()
        output = _plain(run.output)
        self.show(run, output)
        if not run.exit_code:
            self.succeeded = (self.version, output)
        leaves = "q leaves" if self.key else "Ctrl-C leaves"
        self.console.print(f"Save {self.path.name} to run it again; {leaves}.", style="dim")

    def say_running(self) -> None:
        """Say it in a line that the next one takes the place of."""
        shows = self.console.is_terminal and not self.console.is_dumb_terminal
        if shows and not self.says_running and time.monotonic() - self.began > _SOON:
            self.console.print("running", style="dim", end="\r")
            self.says_running = True

    def erase_running(self) -> None:
        """Make room for the line after it."""
        if self.says_running:
            self.console.control(Control((ControlType.ERASE_IN_LINE, 2)))
            self.says_running = False

    def end(self) -> None:
        """End the run, if there is one."""
        if self.process:
            self.process.end()
            self.process = None
            self.erase_running()

    def headline(self, version: _Version) -> None:
        """Say which run this is, and what was edited since the last one that succeeded."""
        self.console.print()
        headline = f"run {self.runs}, {datetime.now():%H:%M:%S}"
        self.console.rule(headline, align="left", style="dim")
        if not self.succeeded:
            return
        old, new = self.succeeded[0].lines(), version.lines()
        edits = [
            (number + 1, new[number])
            for tag, _, _, start, end in SequenceMatcher(None, old, new, False).get_opcodes()
            for number in range(start, end)
            if tag != "equal"
        ]
        for number, line in edits[:_MOST_EDITS]:
            shown = line.split("  #")[0].strip() or line.strip()  # the knob without its hint
            self.console.print(Text(f"line {number}: {_cut(shown)}", "dim"), soft_wrap=True)
        if len(edits) > _MOST_EDITS:
            self.console.print(f"and {len(edits) - _MOST_EDITS} more", style="dim")

    def show(self, run: Run, output: str) -> None:
        """Print a run's output, beside what the last one that succeeded printed."""
        shown = _shortened(output, _OUTPUT)
        text = Text(shown)
        if self.succeeded and not run.exit_code:
            before = _shortened(self.succeeded[1], _OUTPUT)
            if before != shown:
                text = comparison(before, shown, ("before", "now"), self.console.width)
            else:
                same = output == self.succeeded[1]
                news = "Nothing changed." if same else "What changed is in what is left out."
                text.append(f"\n{news}", "bold")
        if text:
            self.console.print(text, soft_wrap=True)
        if run.errors:
            errors = _shortened(_plain(run.errors), _ERRORS)
            self.console.print(Text(errors, "red"), soft_wrap=True)


def _plain(output: str) -> str:
    """Leave out what would steer the terminal; a carriage return begins its line anew."""
    lines = _CONTROLS.sub("", output).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).rstrip()


def _shortened(output: str, most: tuple[int, int]) -> str:
    lines = [_cut(line) for line in output.splitlines()]
    first, last = most
    if (more := len(lines) - first - last) > 0:
        lines[first : first + more] = [f"... lines left out: {more:,} ..."]
    return "\n".join(lines)


def _cut(line: str) -> str:
    half = _MOST_CHARACTERS // 2
    if (more := len(line) - 2 * half) <= 0:
        return line
    return f"{line[:half]} ... characters left out: {more:,} ... {line[-half:]}"


@contextmanager
def _single_keys() -> Iterator[Callable[[], str] | None]:
    """Give a function that returns a key if one was pressed, without Enter, and never waits.

    It is None where there is no keyboard, or none that can be read so.
    """
    if os.name != "posix" or not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def ours() -> bool:
        """Whether this is not in the background, where who touches the terminal is stopped."""
        with suppress(OSError):  # a terminal that controls nobody
            return os.tcgetpgrp(keyboard) == os.getpgrp()
        return True

    def key() -> str:
        if not ours():
            return ""
        if termios.tcgetattr(keyboard)[3] & termios.ICANON:
            tty.setcbreak(keyboard)  # at first, and when the shell has had it: Ctrl-Z, then fg
        ready, _, _ = select.select([keyboard], [], [], 0)
        return os.read(keyboard, 1).decode(errors="replace") if ready else ""

    try:
        yield key
    finally:
        if ours():
            with suppress(termios.error):  # the terminal was closed
                termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
