"""Fills the site's pages when it is built: sources, recorded runs, relations, formulas."""

import hashlib
import html
import json
import os
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy
import scipy
import ziamath
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from lexicon.catalog import Entry, Knob, chapters, entries, imported_files
from lexicon.terminal.bench import plot, tables
from lexicon.terminal.differences import changed_lines
from lexicon.terminal.examples import run_command, run_example
from lexicon.terminal.pages import fenced, filled_page

CACHE = Path(__file__).parent.parent / ".cache"
MEASURED = Path(__file__).parent / "measured"
FONT_SIZE = 16.0

ziamath.config.svg2 = False  # paths, not references to glyphs: their names would clash on a page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the chapters' reading orders: there is no second list."""
    config.nav = [
        {"Home": "index.md"},
        *(
            {chapter.capitalize(): [f"{e.chapter}/{e.slug}.md" for e in entries(chapter)]}
            for chapter in chapters()
        ),
        "measured.md",
        {"Reference": [f"reference/{chapter}.md" for chapter in chapters()]},
        "notation.md",
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page of reference for each chapter, and run all examples that were not yet."""
    for chapter in chapters():
        names = [entry.name for entry in entries(chapter)]
        body = "\n\n".join(f"::: {name}" for name in names)
        path = f"reference/{chapter}.md"
        title = f"# Reference: {chapter}\n\n"
        files.append(File.generated(config, path, content=f"{title}{body}\n"))
    runs = [
        (entry, knob, value)
        for entry in entries()
        for knob, value in [(None, None), *((k, v) for k in entry.knobs for v in k.tries)]
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda run: recorded_output(*run), runs))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill an entry's page; list the entries and draw measurements where a page asks for them."""
    by_page = {f"{entry.chapter}/{entry.slug}.md": entry for entry in entries()}
    entry = by_page.get(page.file.src_uri)
    if entry is None:
        markdown = markdown.replace("<!-- entries -->", entry_list())
        return re.sub(
            r"<!-- measured: (\w+) \| (.+?) -->",
            lambda m: measured(m[1], " ".join(m[2].split())),
            markdown,
            flags=re.DOTALL,
        )
    page.meta.setdefault("description", entry.summary)
    return filled_page(
        entry, run=recorded_runs(entry), link=lambda e: f"[{e.title}](../{e.chapter}/{e.slug}.md)"
    )


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the formulas."""
    content = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda m: formula(html.unescape(m[1]), inline=True),
        content,
        flags=re.DOTALL,
    )
    return re.sub(
        r'(<div class="arithmatex">)\s*\\\[(.*?)\\\]\s*(</div>)',
        lambda m: m[1] + formula(html.unescape(m[2]).strip(), inline=False) + m[3],
        content,
        flags=re.DOTALL,
    )


def entry_list() -> str:
    """List all entries in reading order, each with its summary."""
    return "\n\n".join(
        f"## {chapter.capitalize()}\n\n{_sentence(description)}\n\n"
        + "\n".join(
            f"- [{e.title}]({e.chapter}/{e.slug}.md): {e.summary}" for e in entries(chapter)
        )
        for chapter, description in chapters().items()
    )


def _sentence(description: str) -> str:
    sentence = description.partition(": ")[2]
    return sentence[0].upper() + sentence[1:]


def recorded_runs(entry: Entry) -> str:
    """Show an example, what it prints, and a tab for each value of each knob."""
    default = recorded_output(entry)
    tabs = []
    for knob in entry.knobs:
        for value in knob.tries:
            output = recorded_output(entry, knob, value)
            numbers = [str(i) for i, new in enumerate(changed_lines(default, output), 1) if new]
            marked = f'hl_lines="{" ".join(numbers)}"' if numbers else ""
            block = f"`{run_command(entry, knob, value)}`: {knob.hint}\n\n" + fenced(
                "text", output, marked
            )
            indented = "\n".join(f"    {line}" if line else "" for line in block.splitlines())
            tabs.append(f'=== "{knob.name} = {value!r}"\n\n{indented}')
    example = entry.example.read_text(encoding="utf-8")
    path = f"examples/{entry.chapter}/{entry.slug}.py"
    return "\n\n".join(
        [
            fenced("python", example, f'title="{path}"'),
            f"`lexicon run {entry.slug}` prints",
            fenced("text", default),
            "Turn a knob, and the lines that change are marked:",
            *tabs,
        ]
    )


@cache
def recorded_output(entry: Entry, knob: Knob | None = None, value: object = None) -> str:
    """Return what an example prints; run it only if nothing that it depends on was run before."""
    files = [entry.example, *imported_files(entry.example)]
    versions = (platform.python_version(), numpy.__version__, scipy.__version__)
    key = hashlib.sha256(repr((versions, knob and knob.name, value)).encode())
    for path in files:
        key.update(path.read_bytes())
    stored = CACHE / "runs" / f"{key.hexdigest()}.txt"
    if not stored.is_file():
        run = run_example(entry, {knob: value} if knob else None)
        if run.exit_code:
            raise RuntimeError(f"{entry.example} failed:\n{run.errors}")
        _store(stored, run.output)
    return stored.read_text(encoding="utf-8")


@cache
def measured(name: str, alternative: str) -> str:
    """Draw a committed measurement, with its command, circumstances and numbers below."""
    rows = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    head, end, drawing = plot.svg(name, rows).partition(">")
    # As wide as the page allows, and in the colour of its text.
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head += f' fill="currentColor" role="img" aria-label="{html.escape(alternative)}"'
    drawing = drawing.replace("#000000", "currentColor")
    row = rows[0]
    caption = f"{row['machine']}; {row['versions']}; {row['date']}."
    return (
        f'<figure class="measured">{head}{end}{drawing}'
        f"<figcaption><code>{html.escape(row['command'])}</code><br>{html.escape(caption)} "
        f'<a href="measured/{name}.json">The rows behind it</a>.</figcaption></figure>\n\n'
        f'??? note "The numbers"\n\n'
        + "".join(f"    {line}\n" for line in tables.markdown(name, rows).splitlines())
    )


def formula(tex: str, *, inline: bool) -> str:
    """Draw a formula as an SVG in units of the text around it, named by its source."""
    key = hashlib.sha256(repr((tex, inline, ziamath.__version__)).encode()).hexdigest()
    stored = CACHE / "formulas" / f"{key}.svg"
    if not stored.is_file():
        latex = ziamath.Latex(_spaced(tex), size=FONT_SIZE, inline=inline)
        svg = latex.svgxml()
        for side in ("width", "height"):
            svg.set(side, f"{float(svg.get(side, '0')) / FONT_SIZE:.3f}em")
        svg.set("class", "math")
        svg.set("role", "img")
        svg.set("aria-label", " ".join(tex.split()))
        if inline:
            svg.set("style", f"vertical-align: {latex.getyofst() / FONT_SIZE:.3f}em")
        _store(stored, ElementTree.tostring(svg, encoding="unicode"))
    return stored.read_text(encoding="utf-8")


def _spaced(tex: str) -> str:
    # The renderer takes every minus for a subtraction and every comma for a separator.
    tex = re.sub(r"(^|[=(,&{<>\[]|\\\\|\\(?:q?quad|approx|leftarrow|to|pm))(\s*)-", r"\1\2{-}", tex)
    return tex.replace(",)", "{,})")


def _store(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.{id(text)}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
