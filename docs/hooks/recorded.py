"""What examples print and figures look like, made anew only where something has changed."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import matplotlib
import numpy
import palette
import scipy

from lexicon.catalog import Entry, Knob, imported_files
from lexicon.terminal.bench import plot
from lexicon.terminal.examples import run_example

CACHE = Path(__file__).parents[2] / ".cache"
MEASURED = Path(__file__).parents[1] / "measured"
DRAW = Path(__file__).with_name("draw.py")
VERSIONS = (platform.python_version(), numpy.__version__, scipy.__version__)


@cache
def recorded_output(entry: Entry, knob: Knob | None = None, value: object = None) -> str:
    """Return what an example prints; run it only if nothing that it depends on was run before."""
    key = _key([entry.example], (knob and knob.name, value))
    stored = CACHE / "runs" / f"{key}.txt"
    if not stored.is_file():
        run = run_example(entry, {knob: value} if knob else None)
        if run.exit_code:
            raise RuntimeError(f"{entry.example} failed:\n{run.errors}")
        _store(stored, run.output)
    return stored.read_text(encoding="utf-8")


@cache
def drawn_figure(entry: Entry) -> str:
    """Return an entry's figure as SVG; draw it only if nothing that it depends on was drawn before.

    Its colours are those of the text around it, and its names are its own on a page of several.
    """
    files = [entry.figure_code, DRAW, Path(palette.__file__)]
    if "measured" in entry.figure_code.read_text(encoding="utf-8"):
        files += sorted(MEASURED.glob("*.json"))
    key = _key(files, matplotlib.__version__)
    stored = CACHE / "figures" / f"{key}.svg"
    if not stored.is_file():
        finished = subprocess.run(
            [sys.executable, DRAW, entry.figure_code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if finished.returncode:
            raise RuntimeError(f"{entry.figure_code} failed:\n{finished.stderr}")
        svg = finished.stdout[finished.stdout.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{entry.slug}-", svg)
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        _store(stored, palette.recoloured(svg))
    return stored.read_text(encoding="utf-8")


@cache
def drawn_measurement(name: str) -> str:
    """Return a committed measurement as SVG; draw it only where rows or drawing have changed."""
    rows = MEASURED / f"{name}.json"
    key = _key([rows, Path(plot.__file__), Path(palette.__file__)], matplotlib.__version__)
    stored = CACHE / "figures" / f"{key}.svg"
    if not stored.is_file():
        svg = plot.svg(name, json.loads(rows.read_text(encoding="utf-8")))
        # As wide as the page allows.
        svg = re.sub(r' (width|height)="[^"]*"', "", svg, count=2)
        _store(stored, palette.recoloured(svg))
    return stored.read_text(encoding="utf-8")


def forget() -> None:
    """Look at all files anew from now on: some have changed."""
    for function in (recorded_output, drawn_figure, drawn_measurement, _imported, _digest):
        function.cache_clear()


def _key(files: list[Path], what: object) -> str:
    needed = {file for path in files for file in [path, *_imported(path)]}
    digests = [_digest(file) for file in sorted(needed)]
    return hashlib.sha256(repr((VERSIONS, what, digests)).encode()).hexdigest()


@cache
def _imported(path: Path) -> list[Path]:
    return imported_files(path) if path.suffix == ".py" else []


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _store(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.{id(text)}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
