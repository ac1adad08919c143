"""Watches a file and runs it at every save: edit, run, observe."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text
from watchfiles import watch

from lexicon.terminal.differences import comparison
from lexicon.terminal.examples import Process, Run

__all__ = ["observe"]

_TICK = 100  # milliseconds between looks at the keyboard and the run
_MOST_LINES = 200
_MOST_EDITS = 5


@dataclass(frozen=True)
class _Version:
    """A file as it was saved once."""

    stamp: tuple[int, int]
    source: bytes

    @classmethod
    def read(cls, path: Path) -> "_Version | None":
        try:
            status = path.stat()
            return cls((status.st_mtime_ns, status.st_ino), path.read_bytes())
        except OSError:
            return None  # deleted, or an editor is about to put another in its place

    def lines(self) -> list[str]:
        return self.source.decode(errors="replace").splitlines()


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
    with _single_keys() as key, _ended_by_signals():
        _Observer(path, timeout, console).loop(key)


class _Observer:
    def __init__(self, path: Path, timeout: float, console: Console) -> None:
        self.path, self.timeout, self.console = path, timeout, console
        self.version: _Version | None = None
        self.process: Process | None = None
        self.started: _Version | None = None
        self.succeeded: tuple[_Version, str] | None = None
        self.runs = 0

    def loop(self, key: Callable[[], str]) -> None:
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
                if key() == "q":
                    return
                self.look()
                self.finish()
        finally:
            if self.process:
                self.process.end()

    def look(self) -> None:
        """Start a run if the file was saved; a run of what it was before is ended."""
        version = _Version.read(self.path)
        if version == self.version or (
            version and self.version and version.stamp == self.version.stamp
        ):
            return
        if self.process:
            self.process.end()
            self.process = None
        self.version = version
        if version is None:
            self.console.print(f"{self.path.name} is gone; it runs again when it is back.")
            return
        self.runs += 1
        self.headline(version)
        self.started = version
        self.process = Process(version.source, Path(self.path.name), timeout=self.timeout)

    def finish(self) -> None:
        """Show what a run left behind, if it has ended."""
        run = self.process.poll(0) if self.process else None
        if run is None or self.started is None:
            return
        self.process = None
        self.show(run)
        if not run.exit_code:
            self.succeeded = (self.started, run.output)
        self.console.print(f"Save {self.path.name} to run it again; q leaves.", style="dim")

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
            self.console.print(Text(f"line {number}: {shown}", "dim"), soft_wrap=True)
        if len(edits) > _MOST_EDITS:
            self.console.print(f"and {len(edits) - _MOST_EDITS} more lines edited", style="dim")

    def show(self, run: Run) -> None:
        """Print a run's output, beside what the last one that succeeded printed."""
        output = _shortened(run.output)
        if self.succeeded and not run.exit_code:
            before = _shortened(self.succeeded[1])
            if self.succeeded[1] == run.output:
                text = Text(f"{output.rstrip()}\n").append("Nothing changed.", "bold")
            else:
                text = comparison(before, output, ("before", "now"), self.console.width)
        else:
            text = Text(output.rstrip())
        if text:
            self.console.print(text, soft_wrap=True)
        if run.errors:
            self.console.print(Text(_shortened(run.errors).rstrip(), "red"), soft_wrap=True)


def _shortened(output: str) -> str:
    lines = output.splitlines()
    if len(lines) <= _MOST_LINES:
        return output
    return "\n".join([*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES:,} more lines\n"])


@contextmanager
def _single_keys() -> Iterator[Callable[[], str]]:
    """Give a function that returns a key if one was pressed, without Enter, and never waits."""
    if os.name != "posix" or not sys.stdin.isatty():
        yield lambda: ""
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def key() -> str:
        ready, _, _ = select.select([keyboard], [], [], 0)
        return os.read(keyboard, 1).decode(errors="replace") if ready else ""

    try:
        tty.setcbreak(keyboard)
        yield key
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave by way of `finally` when the terminal closes, so that no run goes on alone."""
    received: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt  # the one exception that the watcher hands on

    signals = [signal.SIGTERM]
    if os.name == "posix":
        signals += [signal.SIGHUP, signal.SIGQUIT]
    before = {number: signal.signal(number, leave) for number in signals}
    try:
        yield
    except KeyboardInterrupt:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
