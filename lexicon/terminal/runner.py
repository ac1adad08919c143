"""Runs an example in a process of its own, as ``python FILE`` would, with a short traceback.

The source arrives on standard input, the file's name is the argument: so a knob can be turned
without a second file, and what runs is what was read.
"""

import linecache
import sys
import threading
import warnings
from importlib.util import decode_source
from pathlib import Path
from traceback import StackSummary, TracebackException, walk_stack
from types import ModuleType, TracebackType


def main() -> None:
    """Run what stands on standard input."""
    source, path = sys.stdin.buffer.read(), sys.argv[1]
    folder = str(Path(path).resolve().parent)
    sys.argv = [path]
    sys.path.insert(0, folder)
    module = ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    _report_on(path, folder)
    text = _decoded(source, path)
    # A traceback shows the lines that ran, which need not be those of the file.
    lines = [f"{line}\n" for line in text.split("\n")]
    linecache.cache[path] = (len(source), None, lines, path)
    exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)


def _decoded(source: bytes, path: str) -> str:
    try:
        return decode_source(source)
    except (SyntaxError, UnicodeDecodeError) as error:
        try:
            source.decode()
        except UnicodeDecodeError as wrong:  # Python's own message names no line
            line = source.count(b"\n", 0, wrong.start) + 1
            message = f"the byte {source[wrong.start]:#x} is not UTF-8"
            raise SyntaxError(message, (path, line, None, None)) from None
        raise error from None


def _report_on(path: str, folder: str) -> None:
    """Let errors and warnings show the lines of the example's own folder, and no others."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        shown = TracebackException(kind, error, trace)
        waiting = [shown]
        while waiting:
            one = waiting.pop()
            # Compared as text: the example may have changed the current folder.
            own = [
                frame
                for frame in one.stack
                if frame.filename == path or str(Path(frame.filename).parent) == folder
            ]
            one.stack = StackSummary.from_list(own)
            waiting += filter(None, (one.__cause__, one.__context__, *(one.exceptions or ())))
        # The example may have put something else in the place of sys.stderr.
        print("".join(shown.format()), end="", file=sys.__stderr__)

    def show_in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and failed.exc_type is not SystemExit:
            name = failed.thread.name if failed.thread else "unknown"
            print(f"Exception in thread {name}:", file=sys.__stderr__)
            show(failed.exc_type, failed.exc_value, failed.exc_traceback)

    def described(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if filename == __file__:  # it is meant for whoever called the example, which is us
            frames = (n for frame, n in walk_stack(None) if frame.f_code.co_filename == path)
            filename, lineno = path, next(frames, 1)
        return describe(message, category, filename, lineno, line)

    describe, warnings.formatwarning = warnings.formatwarning, described
    sys.excepthook, threading.excepthook = show, show_in_thread


if __name__ == "__main__":
    main()
