"""Runs many independent cells of an experiment, on all cores or a cluster, and loses none.

A finished cell is written to a file at once, and a sweep that finds it there does not run it
again: so whatever ended a sweep, running it again continues it.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config

__all__ = ["ClusterError", "finished_cells", "run_sweep"]

Cell = dict[str, Any]


class ClusterError(Exception):
    """A cluster that cannot be used; the message says why."""


def run_sweep(
    function: Callable[[Cell], Cell],
    cells: Sequence[Cell],
    *,
    results: Path,
    jobs: int,
    cluster: str | None,
    after_cell: Callable[[], None],
) -> list[Cell]:
    """Call a function on every cell that has no result yet, several at once.

    Parameters
    ----------
    function : callable
        Takes a cell and returns its result, both of JSON's types. It runs in another process,
        so it has to be importable there.
    cells : sequence of dict
        No two equal.
    results : Path
        Where finished cells are kept, a JSON object a line: ``cell`` and ``result``. Cells of
        other sweeps may stand there too.
    jobs : int
        How many run at once on this machine.
    cluster : str or None
        The address of a Dask scheduler, whose workers run the cells instead.
    after_cell : callable
        Called once for each cell: those found finished first, then as they finish.

    Returns
    -------
    list of dict
        The results, in the order of `cells`.

    Raises
    ------
    ClusterError
        If Dask is not installed or no scheduler answers.
    """
    found = finished_cells(results)
    finished = {_key(cell): result for cell, result in found}
    missing = [cell for cell in cells if _key(cell) not in finished]
    for _ in range(len(cells) - len(missing)):
        after_cell()
    if missing:
        _write(results, found)
        with _where(jobs, cluster), results.open("a", encoding="utf-8") as file:
            parallel = Parallel(return_as="generator_unordered", batch_size=1)
            for cell, result in parallel(delayed(_run)(function, cell) for cell in missing):
                file.write(_line(cell, result))
                file.flush()
                os.fsync(file.fileno())
                finished[_key(cell)] = result
                after_cell()
    return [finished[_key(cell)] for cell in cells]


def finished_cells(results: Path) -> list[tuple[Cell, Cell]]:
    """Read what a sweep has kept.

    Parameters
    ----------
    results : Path
        The sweep's file; it need not exist.

    Returns
    -------
    list of tuple of dict
        Cells with their results, in the order of finishing. Lines that are cut short are left out.
    """
    found = []
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else ():
        try:
            entry = json.loads(line)
            found.append((entry["cell"], entry["result"]))
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return found


def _run(function: Callable[[Cell], Cell], cell: Cell) -> tuple[Cell, Cell]:
    return cell, function(cell)


def _key(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True)


def _line(cell: Cell, result: Cell) -> str:
    return json.dumps({"cell": cell, "result": result}) + "\n"


def _write(results: Path, found: list[tuple[Cell, Cell]]) -> None:
    """Write a file without a line that whatever ended the last sweep cut short."""
    temporary = results.with_name(results.name + ".new")
    temporary.write_text("".join(_line(*pair) for pair in found), encoding="utf-8")
    temporary.replace(results)


@contextmanager
def _where(jobs: int, cluster: str | None) -> Iterator[None]:
    if cluster is None:
        with parallel_config(backend="loky", n_jobs=jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("--cluster needs Dask: pip install 'nn-lexicon[cluster]'") from error
    try:
        client = Client(cluster, timeout="10s")
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {cluster}: {error}") from error
    with client, parallel_config(backend="dask", n_jobs=-1):
        yield
