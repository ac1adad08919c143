"""Runs an example in a process of its own, as ``python FILE`` would, with a short traceback.

The source arrives on standard input, the file's name is the argument: so a knob can be turned
without a second file, and what runs is what was read.
"""

import linecache
import sys
from importlib.util import decode_source
from pathlib import Path
from traceback import StackSummary, TracebackException
from types import ModuleType


def main() -> int:
    """Run what stands on standard input; return 1 where it failed."""
    source, path = sys.stdin.buffer.read(), sys.argv[1]
    folder = Path(path).resolve().parent
    sys.argv = [path]
    sys.path.insert(0, str(folder))
    module = ModuleType("__main__")
    module.__file__ = path
    sys.modules["__main__"] = module
    try:
        code = compile(source, path, "exec", dont_inherit=True)
        # A traceback shows the lines that ran, which need not be those of the file.
        lines = decode_source(source).splitlines(keepends=True)
        linecache.cache[path] = (len(source), None, lines, path)
        exec(code, module.__dict__)
    except Exception as error:
        sys.stdout.flush()
        shortened = _shortened(TracebackException.from_exception(error), folder)
        sys.stderr.write("".join(shortened.format()))
        return 1
    return 0


def _shortened(error: TracebackException, folder: Path) -> TracebackException:
    """Leave out all frames but those of the example's own folder."""
    own = [frame for frame in error.stack if Path(frame.filename).resolve().parent == folder]
    error.stack = StackSummary.from_list(own)
    for earlier in (error.__cause__, error.__context__):
        if earlier:
            _shortened(earlier, folder)
    return error


if __name__ == "__main__":
    sys.exit(main())
