"""Fills the site's pages when it is built: sources, recorded runs, relations, formulas."""

import html
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import learning_map
import recorded
import settled
from glossary import explained
from math_core import LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url
from recorded import CACHE, MEASURED, drawn_figure, drawn_measurement, recorded_output

from lexicon import catalog
from lexicon.catalog import Entry, Figure, chapters, entries
from lexicon.terminal.bench import tables
from lexicon.terminal.differences import changed_lines
from lexicon.terminal.examples import run_command
from lexicon.terminal.formulas import inline, split_at_quads
from lexicon.terminal.pages import fenced, filled_page

_TEX = LatexToMathML()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the navigation from the chapters' reading orders: there is no second list."""
    catalog.forget()
    recorded.forget()
    settled.forget()
    config.nav = [
        {"Home": "index.md"},
        "questions.md",
        "map.md",
        *(
            {
                chapter.capitalize(): [
                    f"{chapter}/index.md",
                    *(f"{e.chapter}/{e.slug}.md" for e in entries(chapter)),
                ]
            }
            for chapter in chapters()
        ),
        "measured.md",
        "criteria.md",
        "claims.md",
        "glossary.md",
        "notation.md",
        {"Reference": [f"reference/{chapter}.md" for chapter in chapters()]},
        "contribute.md",
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, and run all examples and figures that have changed."""
    for chapter, description in chapters().items():
        for path, content in {
            f"{chapter}/index.md": chapter_page(chapter, description),
            f"reference/{chapter}.md": reference_page(chapter),
        }.items():
            files.append(generated(path, content, config))
    runs = [
        (entry, knob, value)
        for entry in entries()
        for knob, value in [(None, None), *((k, v) for k in entry.knobs for v in k.tries)]
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda run: recorded_output(*run), runs))
        list(pool.map(drawn_figure, (entry for entry in entries() if entry.figure)))
    return files


def generated(path: str, content: str, config: MkDocsConfig) -> File:
    """Return a page that has no file among the others, written anew only where it has changed."""
    folder = CACHE / "pages"
    if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != content:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    return File(path, str(folder), config.site_dir, config.use_directory_urls)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill an entry's page, and what other pages ask for."""
    entry = _entry(page)
    if entry is None:
        for marker, text in {
            "<!-- glossary -->": glossary_list,
            "<!-- numbers -->": how_many,
            "<!-- claims -->": settled.claims_page,
        }.items():
            if marker in markdown:
                markdown = markdown.replace(marker, text())
        markdown = re.sub(r"<!-- claim: (\w+) -->", lambda m: settled.in_short(m[1]), markdown)
        return re.sub(
            r"<!-- measured: (\w+) \| (.+?) -->",
            lambda m: measured(
                m[1], " ".join(m[2].split()), get_relative_url(f"measured/{m[1]}.json", page.url)
            ),
            markdown,
            flags=re.DOTALL,
        )
    page.meta.setdefault("description", entry.summary)
    markdown = filled_page(
        entry,
        run=recorded_runs(entry),
        figure=lambda figure: figure_element(entry, figure),
        link=lambda other: f"[{other.title}](../{other.chapter}/{other.slug}.md)",
        claims=settled.verdicts(entry),
    )
    title, rest = markdown.split("\n", 1)
    return f"{title}\n\n{where(entry)}\n{rest}"


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace formulas, draw maps, and explain words."""
    # A heading of nothing but a formula has no text for those who listen to it.
    content = re.sub(
        r'<th>(<span class="arithmatex">\\\((.*?)\\\)</span>)</th>',
        lambda m: (
            f'<th><span aria-hidden="true">{m[1]}</span>'
            f'<span class="unseen">{html.escape(inline(html.unescape(m[2])))}</span></th>'
        ),
        content,
    )
    content = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>([.,;:!?)]*)',
        lambda m: f'<span class="formula">{formula(html.unescape(m[1]), inline=True)}{m[2]}</span>',
        content,
        flags=re.DOTALL,
    )
    content = re.sub(
        r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>',
        lambda m: (
            f'<div class="formula" tabindex="0">{formulas(html.unescape(m[1]).strip())}</div>'
        ),
        content,
        flags=re.DOTALL,
    )

    def link(entry: Entry) -> str:
        return get_relative_url(f"{entry.chapter}/{entry.slug}/", page.url)

    content = content.replace("<th></th>", "<td></td>")  # a corner is no heading
    content = re.sub(
        r"<!-- map(?:: (\w+))? -->",
        lambda m: learning_map.svg(entries(m[1]), link=link, lanes=not m[1]),
        content,
    )
    if page.file.src_uri.startswith(("reference/", "glossary")):
        return content
    return explained(_with_summaries(content), own=_entry(page), link=link)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Name what the theme leaves unnamed for those who cannot see it."""
    section = html.escape(str(page.parent.title)) if page.parent else ""
    output = re.sub(
        r'(data-md-level="1") aria-labelledby="\w+"', rf'\1 aria-label="{section}"', output
    )
    return _with_named_search(output)


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    """Do the same for pages that are not made of Markdown."""
    return _with_named_search(output)


def _with_named_search(output: str) -> str:
    return output.replace(
        'data-md-component="search" role="dialog"',
        'data-md-component="search" role="dialog" aria-label="Search"',
    )


def on_post_build(config: MkDocsConfig) -> None:
    """Write what machines read: `llms.txt`, and names for the search as people type them."""
    site = Path(config.site_dir)
    address = (config.site_url or "").rstrip("/")
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for chapter, description in chapters().items():
        lines += [f"## {chapter.capitalize()}", "", _sentence(description), ""]
        lines += [
            f"- [{e.title}]({address}/{e.chapter}/{e.slug}/): {e.summary}" for e in entries(chapter)
        ]
        lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    index = site / "search" / "search_index.json"
    found = json.loads(index.read_text(encoding="utf-8"))
    names = {f"{e.chapter}/{e.slug}/": f" {e.slug} {e.slug.replace('_', '')}" for e in entries()}
    for document in found["docs"]:
        document["text"] += names.get(document["location"], "")
    index.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _entry(page: Page) -> Entry | None:
    by_page = {f"{entry.chapter}/{entry.slug}.md": entry for entry in entries()}
    return by_page.get(page.file.src_uri)


def _with_summaries(content: str) -> str:
    """Let each link to an entry say what the entry is."""
    by_slug = {entry.slug: entry for entry in entries()}

    def titled(match: re.Match[str]) -> str:
        entry = by_slug.get(match[2])
        return f'{match[1]} title="{html.escape(entry.summary)}">' if entry else match[0]

    return re.sub(r'(<a href="(?:\.\./)+(?:\w+/)?(\w+)/(?:#[^"]*)?")>', titled, content)


def chapter_page(chapter: str, description: str) -> str:
    """List a chapter's entries in reading order, each with its summary, below their map."""
    listed = "\n".join(
        f"{number}. [{e.title}]({e.slug}.md)  \n    {e.summary}"
        for number, e in enumerate(entries(chapter), 1)
    )
    sentence = _sentence(description)
    return (
        f"---\ndescription: {sentence}\n---\n\n# {chapter.capitalize()}\n\n{sentence}\n\n"
        f"<!-- map: {chapter} -->\n\n## In reading order\n\n{listed}\n"
    )


def reference_page(chapter: str) -> str:
    """Describe all public names of a chapter's modules."""
    modules = "\n\n".join(
        f"## {e.name} {{ #{e.name} }}\n\n[{e.title}](../{chapter}/{e.slug}.md) explains it; "
        f"[the source](../{chapter}/{e.slug}.md#how-does-it-work) is on the same page.\n\n"
        f"::: {e.name}"
        for e in entries(chapter)
    )
    return (
        f"---\ndescription: Every public name of the chapter {chapter}.\n---\n\n"
        f"# Reference: {chapter}\n\n{modules}\n"
    )


def where(entry: Entry) -> str:
    """Say where an entry stands, and what it is called in code."""
    listed = entries(entry.chapter)
    return (
        f"[{entry.chapter.capitalize()}](index.md), {listed.index(entry) + 1} of {len(listed)} · "
        f"[`{entry.name}`](../reference/{entry.chapter}.md#{entry.name})\n{{ .where }}\n"
    )


def glossary_list() -> str:
    """List all entries by name, each with its summary."""
    return "\n".join(
        f"[{e.title}]({e.chapter}/{e.slug}.md)\n:   {e.summary}\n"
        for e in sorted(entries(), key=lambda entry: entry.title.lower())
    )


def how_many() -> str:
    """Say how much there is."""
    return f"{len(entries())} entries in {len(chapters())} chapters"


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
            block = "\n\n".join(
                [
                    knob.hint[0].upper() + knob.hint[1:] + ".",
                    fenced("console", run_command(entry, knob, value)),
                    fenced("text", output, marked),
                ]
            )
            indented = "\n".join(f"    {line}" if line else "" for line in block.splitlines())
            tabs.append(f'=== "{knob.name} = {value!r}"\n\n{indented}')
    example = entry.example.read_text(encoding="utf-8")
    path = f"examples/{entry.chapter}/{entry.slug}.py"
    return "\n\n".join(
        [
            fenced("python", example, f'title="{path}"'),
            fenced("console", f"lexicon run {entry.slug}"),
            "prints",
            fenced("text", default),
            "Turn a knob, and the lines that change are marked:",
            *tabs,
        ]
    )


def measured(name: str, alternative: str, address: str) -> str:
    """Draw a committed measurement, with its command, circumstances and numbers below."""
    rows = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    head, end, drawing = drawn_measurement(name).partition(">")
    head += f' fill="currentColor" role="img" aria-label="{html.escape(alternative)}"'
    row = rows[0]
    caption = f"{row['machine']}; {row['versions']}; {row['date']}."
    return (
        f'<figure class="drawn">{head}{end}{drawing}'
        f"<figcaption><code>{html.escape(row['command'])}</code><br>{html.escape(caption)} "
        f'<a href="{address}">The rows behind it</a>.</figcaption></figure>\n\n'
        f'??? note "The numbers"\n\n'
        + "".join(f"    {line}\n" for line in tables.markdown(name, rows).splitlines())
    )


def figure_element(entry: Entry, figure: Figure) -> str:
    """Return a figure with its caption and a link to the code that drew it."""
    head, end, drawing = drawn_figure(entry).partition(">")
    head += f' fill="currentColor" role="img" aria-label="{html.escape(figure.alternative)}"'
    return (
        f'<figure class="drawn">{head}{end}{drawing}'
        f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
    )


def formulas(tex: str) -> str:
    """Write formulas that stand side by side, each for itself: where it is narrow, they wrap."""
    return "".join(map(formula, split_at_quads(tex)))


def formula(tex: str, *, inline: bool = False) -> str:
    """Write a formula as MathML, which browsers draw, read aloud and let select."""
    mathml = _TEX.convert_with_local_state(tex, displaystyle=not inline)
    # A prime is high as it is; raised once more, browsers draw it too small to be seen.
    return re.sub(
        r"<msup>(<mi>[^<]*</mi>)<mo>([′″‴])</mo></msup>",
        r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>',
        mathml,
    )
