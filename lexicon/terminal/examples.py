"""Runs an example, with or without a knob turned, in a process of its own."""

import ast
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import IO, cast

from lexicon.catalog import Entry, Knob, turn
from lexicon.terminal import runner

__all__ = [
    "Process",
    "Run",
    "ended_by_signals",
    "parse_settings",
    "parse_sweep",
    "run_command",
    "run_example",
    "run_examples",
    "setting_name",
    "turned_source",
]

TIMEOUT = 60.0
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Run:
    """What a run of an example left behind.

    Parameters
    ----------
    output : str
        What it printed.
    errors : str
        What it printed to standard error, a traceback included, and why it was ended if it was.
    exit_code : int
        0 where it succeeded.
    """

    output: str
    errors: str
    exit_code: int


class Process:
    """An example that is running.

    Parameters
    ----------
    source : bytes
        What to run.
    path : Path
        Its file, for tracebacks and for what it imports from beside it.
    timeout : float
        Seconds after which it is ended. It also is after a megabyte of output.
    """

    def __init__(self, source: bytes, path: Path, *, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._too_much = self._ended = False
        self._process = subprocess.Popen(
            # -P: no module of the current folder stands in for one of the library's.
            [sys.executable, "-P", runner.__file__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Examples are small: a second BLAS thread only waits, twenty times longer on a busy
            # core. Unbuffered: what was printed before the end is there when it is ended.
            env={
                "OPENBLAS_NUM_THREADS": "1",
                **os.environ,
                "PYTHONUTF8": "1",
                "PYTHONIOENCODING": "utf-8",
                "PYTHONUNBUFFERED": "1",
            },
            # Its own group, so that it can be ended with all it started.
            start_new_session=True,
        )
        started = self._process
        stdin, stdout, stderr = cast(
            "tuple[IO[bytes], IO[bytes], IO[bytes]]",
            (started.stdin, started.stdout, started.stderr),
        )
        self._output, self._errors = bytearray(), bytearray()
        self._threads = [
            Thread(target=self._keep, args=(stdout, self._output), daemon=True),
            Thread(target=self._keep, args=(stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        with suppress(BrokenPipeError), stdin:  # its exit code tells if it ended before it read
            stdin.write(source)

    def wait(self) -> Run:
        """Wait until it has ended or was ended, and return what it left behind."""
        while (run := self.poll(self._timeout)) is None:
            pass
        return run

    def poll(self, seconds: float) -> Run | None:
        """Wait for the end, but not long.

        Parameters
        ----------
        seconds : float
            How long at most.

        Returns
        -------
        Run or None
            What it left behind; None if it still runs.
        """
        try:
            self._process.wait(max(0.0, min(seconds, self._deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() < self._deadline:
                return None
            self.end()
            return self._left_behind(f"ended after {self._timeout:g} seconds")
        except BaseException:
            self.end()
            raise
        self.end()  # whatever it left running in the background
        if self._too_much:
            return self._left_behind(f"ended after {_MOST_BYTES:,} bytes of output")
        code = self._process.returncode
        if code < 0:
            known = {number.value: number.name for number in signal.Signals}
            return self._left_behind(f"ended by {known.get(-code, f'signal {-code}')}")
        # Python exits with 1 after a traceback, which says more.
        if code and not (code == 1 and b'  File "' in self._errors):
            return self._left_behind(f"ended with exit code {code}")
        return self._left_behind("")

    def end(self) -> None:
        """End the process, and all it started."""
        if self._ended:
            return  # its group's number may by now be another's
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):  # nothing is left of the group
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._ended = True
        self._process.wait()
        for thread in self._threads:
            thread.join(1.0)  # not for ever: a daemon that it started may hold on to its output

    def _keep(self, pipe: IO[bytes], kept: bytearray) -> None:
        for chunk in iter(partial(os.read, pipe.fileno(), 65_536), b""):
            kept += chunk[: _MOST_BYTES - len(kept)]
            if len(kept) >= _MOST_BYTES and not self._too_much:
                self._too_much = True
                self._process.kill()
        pipe.close()

    def _left_behind(self, reason: str) -> Run:
        output = self._output.decode(errors="replace").replace("\r\n", "\n")
        errors = self._errors.decode(errors="replace").replace("\r\n", "\n")
        if not reason:
            return Run(output, errors, self._process.returncode)
        if errors and not errors.endswith("\n"):
            errors += "\n"
        return Run(output, f"{errors}{reason}\n", self._process.returncode or 1)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Leave by way of `finally` when the terminal closes, so that no run goes on alone."""
    if current_thread() is not main_thread():
        yield  # signals arrive elsewhere
        return
    received: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # A terminal that closes may send several: those that follow must not stop `finally`.
        if len(received) == 1:
            raise KeyboardInterrupt  # the one exception that the watcher hands on

    signals = [signal.SIGTERM]
    if os.name == "posix":
        signals += [signal.SIGHUP, signal.SIGQUIT]
    before = {
        number: signal.signal(number, leave)
        for number in signals
        if signal.getsignal(number) != signal.SIG_IGN  # as under `nohup`
    }
    try:
        yield
    except KeyboardInterrupt:
        if received:
            sys.exit(128 + received[0])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse_settings(entry: Entry, settings: list[str]) -> dict[Knob, object]:
    """Read settings such as ``K=3`` against an example's knobs.

    Parameters
    ----------
    entry : Entry
        The entry whose example has the knobs.
    settings : list of str
        ``NAME=literal`` each; quotes around a string may be left out.

    Returns
    -------
    dict of Knob to object
        The values by knob.

    Raises
    ------
    ValueError
        If a setting has no ``=``, names no knob or one that is set already, or its value is not a
        literal of the type that the knob has.
    """
    values: dict[Knob, object] = {}
    for setting in settings:
        knob, text = _named(entry, setting)
        if knob in values:
            raise ValueError(f"{knob.name} is set twice")
        values[knob] = _value(knob, text)
    return values


def parse_sweep(entry: Entry, sweep: str) -> tuple[Knob, list[object]]:
    """Read a sweep such as ``K=1,2,5`` against an example's knobs.

    Parameters
    ----------
    entry : Entry
        The entry whose example has the knobs.
    sweep : str
        ``NAME=literal[,literal...]``; quotes around strings may be left out.

    Returns
    -------
    knob : Knob
        The knob to turn.
    values : list of object
        What to turn it to, in turn.

    Raises
    ------
    ValueError
        As `parse_settings`, and if a value is missing or comes twice.
    """
    knob, text = _named(entry, sweep)
    try:
        texts = [repr(value) for value in cast("tuple[object, ...]", _literal(f"({text},)"))]
    except ValueError:
        texts = [part.strip() for part in text.split(",")]
    if not all(texts):
        raise ValueError(f"{sweep!r} lacks a value")
    values = [_value(knob, one) for one in texts]
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{knob.name} has the value {value!r} twice")
    return knob, values


def _named(entry: Entry, setting: str) -> tuple[Knob, str]:
    knobs = {knob.name: knob for knob in entry.knobs}
    name, equals, text = (part.strip() for part in setting.partition("="))
    if not equals:
        raise ValueError(f"{setting!r} must be NAME=VALUE")
    if name not in knobs:
        near = get_close_matches(name.upper(), knobs, n=1)
        offer = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{entry.slug} has no knob {name!r}; {offer}it has {', '.join(knobs)}")
    return knobs[name], text


def _value(knob: Knob, text: str) -> object:
    kind = type(knob.value)
    value: object = text
    with suppress(ValueError, OverflowError):
        value = _literal(text)
        if kind is float and type(value) is int:
            value = float(value)
    if type(value) is not kind:
        names: dict[type, str] = {bool: "True or False", float: "a finite float"}
        raise ValueError(f"{knob.name} must be {names.get(kind, kind.__name__)}, got {text!r}")
    return value


def _literal(text: str) -> object:
    """Return what a literal says, or raise ValueError, whatever is wrong with it."""
    try:
        value: object = ast.literal_eval(text)
        ast.literal_eval(repr(value))  # as the source will have it: infinity has no literal
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(text) from error
    return value


def setting_name(values: dict[Knob, object]) -> str:
    """Return settings as a person would write them: ``K = 3, SEED = 1``, or ``default``."""
    return ", ".join(f"{knob.name} = {value!r}" for knob, value in values.items()) or "default"


def run_command(entry: Entry, knob: Knob, value: object) -> str:
    """Return what to type in a shell to run an example with a knob turned.

    Parameters
    ----------
    entry : Entry
        The entry.
    knob : Knob
        One of its example's knobs.
    value : object
        The value to set it to.

    Returns
    -------
    str
        The command, quoted where the shell needs it.
    """
    return f"lexicon run {entry.slug} --set {shlex.quote(f'{knob.name}={value}')}"


def turned_source(entry: Entry, settings: dict[Knob, object] | None = None) -> str:
    """Return an example's source with knobs turned.

    Parameters
    ----------
    entry : Entry
        The entry.
    settings : dict of Knob to object, optional
        Other values for its knobs.

    Returns
    -------
    str
        The source.
    """
    source = entry.example.read_text(encoding="utf-8")
    for knob, value in (settings or {}).items():
        source = turn(source, knob, value)
    return source


def run_example(
    entry: Entry, settings: dict[Knob, object] | None = None, *, timeout: float = TIMEOUT
) -> Run:
    """Run an entry's example.

    Parameters
    ----------
    entry : Entry
        The entry.
    settings : dict of Knob to object, optional
        Other values for its knobs.
    timeout : float, default 60.0
        Seconds after which the run is ended.

    Returns
    -------
    Run
        What happened.
    """
    source = turned_source(entry, settings)
    return Process(source.encode(), entry.example, timeout=timeout).wait()


def run_examples(
    entry: Entry, all_settings: list[dict[Knob, object]], *, timeout: float = TIMEOUT
) -> list[Run]:
    """Run an entry's example with several settings, as many at once as there are cores.

    Parameters
    ----------
    entry : Entry
        The entry.
    all_settings : list of dict of Knob to object
        The settings.
    timeout : float, default 60.0
        Seconds after which a run is ended.

    Returns
    -------
    list of Run
        What happened, in the order of the settings.
    """
    started: list[Process] = []
    left = Event()

    def run(settings: dict[Knob, object]) -> Run:
        source = turned_source(entry, settings)
        process = Process(source.encode(), entry.example, timeout=timeout)
        started.append(process)
        if left.is_set():  # while it started: nobody else has seen it
            process.end()
        return process.wait()

    with ended_by_signals(), ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(run, all_settings))
        except BaseException:
            # Signals reach this thread only: the others would wait for their examples' ends.
            left.set()
            for process in started:
                process.end()
            raise
