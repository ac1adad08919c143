"""The site: built strictly from the files themselves, complete, valid, and open to all readers."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import html5lib
import pytest

from lexicon.catalog import chapters, entries
from lexicon.terminal.examples import run_command, run_example

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.thorough
PUBLISHED = (ROOT / "tests" / "published.txt").read_text(encoding="utf-8").split()


def build(site):
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    build(site)
    return site


@pytest.fixture(scope="module")
def parsed(site):
    """Parse every page strictly: what is not valid HTML is an error."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        parser = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True)
        try:
            pages[path.relative_to(site).as_posix()] = parser.parse(path.read_text("utf-8"))
        except html5lib.html5parser.ParseError as error:
            pytest.fail(f"{path}: {error} at {parser.errors[-1][0]}")
    return pages


def text_of(tree):
    return "".join(tree.itertext())


def squeezed(text):
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_a_page_shows_the_files_themselves(parsed, site, entry):
    page = f"{entry.chapter}/{entry.slug}/index.html"
    shown = squeezed(text_of(parsed[page]))
    for text in [
        entry.module.read_text(encoding="utf-8"),
        entry.example.read_text(encoding="utf-8"),
        run_example(entry).output,
        *entry.references,
        *(other.title for other in entry.prerequisites),
    ]:
        assert squeezed(text) in shown
    for knob in entry.knobs:
        for value in knob.tries:
            assert f"{knob.name} = {value!r}" in shown
            assert run_command(entry, knob, value) in shown
    html = (site / page).read_text(encoding="utf-8")
    assert "hll" in html, "changed lines are marked"
    assert '<span class="arithmatex">' not in html, "a formula was not drawn"
    assert "<!--" not in shown
    if entry.figure:
        assert squeezed(entry.figure.caption) in shown
        (drawing,) = re.findall(r'<figure class="drawn"><svg[^>]*>', html)
        assert 'role="img" aria-label="' in drawing
        assert "currentColor" in html


def test_chapters_glossary_and_map_name_every_entry(parsed):
    for entry in entries():
        for page in (f"{entry.chapter}/index.html", "glossary/index.html"):
            assert squeezed(entry.summary) in squeezed(text_of(parsed[page]))
        nodes = [e for e in parsed["map/index.html"].iter() if e.get("class") == f"at-{entry.slug}"]
        assert [node.get("href") for node in nodes] == [f"../{entry.chapter}/{entry.slug}/"]


def test_every_public_name_has_a_reference(parsed):
    for chapter in chapters():
        ids = {e.get("id") for e in parsed[f"reference/{chapter}/index.html"].iter()}
        for entry in entries(chapter):
            names = re.search(r"__all__ = \[(.*?)\]", entry.module.read_text("utf-8"), re.S)
            public = re.findall(r'"(\w+)"', names[1])
            assert {entry.name, *(f"{entry.name}.{name}" for name in public)} <= ids


def test_links_and_anchors_resolve(parsed, site):
    ids = {page: {e.get("id") for e in tree.iter()} for page, tree in parsed.items()}
    wanted = {"a": "href", "link": "href", "script": "src", "img": "src", "iframe": "src"}
    for page, tree in parsed.items():
        for element in tree.iter():
            address = element.get(wanted.get(element.tag, ""))
            if element.tag == "link" and element.get("rel") == "canonical":
                continue
            if address is None or (element.tag == "a" and address.startswith("https:")):
                continue
            assert not re.match(r"(https?:)?//|data:", address), f"{page}: {address}"
            target, anchor = urldefrag(unquote(urljoin(f"/{page}", address)))
            path = target.lstrip("/")
            path += "index.html" if path.endswith("/") or not path else ""
            assert (site / path).is_file(), f"{page}: {address}"
            assert not anchor or path not in ids or anchor in ids[path], f"{page}: {address}"
        for style in tree.iter("style"):
            assert "url(" not in (style.text or "")


def test_published_addresses_stay(site):
    assert sorted(PUBLISHED) == PUBLISHED
    for address in PUBLISHED:
        assert (site / address / "index.html").is_file(), f"{address} was published: redirect it"
    own = {f"{entry.chapter}/{entry.slug}/" for entry in entries()}
    assert own <= set(PUBLISHED), "tests/published.txt lists all addresses"


def test_machines_find_titles_descriptions_and_all_pages(parsed, site):
    sitemap = (site / "sitemap.xml").read_text(encoding="utf-8")
    llms = (site / "llms.txt").read_text(encoding="utf-8")
    titles, descriptions = set(), set()
    for entry in entries():
        address = f"{entry.chapter}/{entry.slug}/"
        assert f"{address}</loc>" in sitemap
        assert f"{address}): {entry.summary}" in llms
        tree = parsed[f"{address}index.html"]
        named = {e.get("name") or e.get("property"): e.get("content") for e in tree.iter("meta")}
        assert named["description"] == named["og:description"] == entry.summary
        assert named["og:title"] == entry.title
        assert named["og:url"].endswith(address)
        assert (site / named["og:image"].rpartition("/")[2]).is_file()
        titles.add(next(tree.iter("title")).text)
        descriptions.add(named["description"])
    assert len(titles) == len(descriptions) == len(entries())


def test_what_contribute_quotes_is_in_the_files():
    page = (ROOT / "docs" / "contribute.md").read_text(encoding="utf-8")
    quotes = re.findall(r'^```\w+ title="(.+?)"\n(.+?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(quotes) >= 7
    for path, text in quotes:
        assert text in (ROOT / path).read_text(encoding="utf-8"), f"{path}:\n{text}"


def test_a_rebuild_without_changes_runs_nothing(site, tmp_path):
    def recorded_now():
        return {p: p.stat().st_mtime_ns for p in (ROOT / ".cache").rglob("*") if p.is_file()}

    recorded = recorded_now()
    assert len(recorded) >= sum(1 + sum(len(k.tries) for k in e.knobs) for e in entries())
    build(tmp_path)
    assert recorded_now() == recorded
    for entry in entries():
        path = Path(entry.chapter, entry.slug, "index.html")
        assert (tmp_path / path).read_bytes() == (site / path).read_bytes()


# What follows happens in a real browser.


@pytest.fixture(scope="module")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """Open pages; a message on the console or a request to anywhere else is an error."""
    complaints = []
    contexts = []

    def open_page(path="", *, width=1280, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda r: complaints.append(r.url) if r.status >= 400 else None)

        def keep_home(route):
            if route.request.url.startswith((address, "data:", "blob:")):
                route.continue_()
            else:
                complaints.append(route.request.url)
                route.abort()

        context.route("**/*", keep_home)
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


PAGES = [
    "",
    "map/",
    "measured/",
    "criteria/",
    "glossary/",
    "notation/",
    "contribute/",
    *(f"{chapter}/" for chapter in chapters()),
    *(f"{entry.chapter}/{entry.slug}/" for entry in entries()),
    *(f"reference/{chapter}/" for chapter in chapters()),
    "404.html",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_both_palettes_and_quiet(visit, address, scheme):
    import axe_playwright_python

    axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = visit(color_scheme=scheme)
    found = []
    for path in PAGES:
        page.goto(address + path)
        page.evaluate(axe)
        # Code has the same colours everywhere, and takes most of the time: once is enough.
        everything = path in ("", "sparsity/k_wta/", "contribute/")
        scope = "document" if everything else "{exclude: [['pre'], ['.doc-contents']]}"
        # The second palette differs from the first in nothing but colours.
        rules = ", runOnly: ['color-contrast']" if scheme == "dark" else ""
        result = page.evaluate(f"axe.run({scope}, {{resultTypes: ['violations']{rules}}})")
        found += [
            f"{path}: {violation['id']}: {node['html'][:120]}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]
    assert found == []


def test_a_phone_needs_no_sideways_scroll(visit, address):
    page = visit(width=360)
    for path in PAGES:
        page.goto(address + path)
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= 360, f"{path} is {wide} pixels wide"


def test_pages_are_complete_without_a_script(visit):
    page = visit("sparsity/k_wta/", java_script_enabled=False)
    article = page.locator("article")
    for text in ("What usually goes wrong?", "KWinnersTakeAll", "active per sample   5 to 5"):
        assert article.get_by_text(text).first.is_visible()
    assert page.locator("math").first.is_visible()
    assert page.locator("figure.drawn svg").is_visible()
    page.get_by_text("K = 64", exact=True).click()
    assert page.get_by_text("active per sample   64 to 64 of 64").first.is_visible()
    answer = page.get_by_text("All 64 neurons win, so k-WTA is the identity.")
    assert not answer.is_visible()
    page.get_by_text("Predict: in the example, what happens with K = 64?").click()
    assert answer.is_visible()
    definition = page.locator("#term-neuron")
    assert not definition.is_visible()
    page.locator("button.term", has_text="neurons").first.click()
    assert definition.is_visible()


def test_formulas_are_drawn_in_their_own_font(visit):
    page = visit("sparsity/k_wta/")
    page.wait_for_function("document.fonts.check('16px \"STIX Two Math\"')")
    box = page.locator("div.formula mo", has_text="{").first.bounding_box()
    assert box["height"] > 35, "the brace stretches over both cases"


@pytest.mark.parametrize("path", ["", "map/", "sparsity/", "sparsity/k_wta/", "contribute/"])
def test_the_keyboard_reaches_everything(visit, path):
    page = visit(path)
    if page.locator("pre > code").count():
        page.wait_for_selector(".md-code__button")  # the theme adds it
    page.evaluate(
        """() => {
        const wanted = "a[href], button, summary, input, label[tabindex], [tabindex='0']";
        const visible = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true})
            && e.getClientRects().length && !e.closest("[inert]") && e.tabIndex >= 0;
        window.waiting = new Set([...document.querySelectorAll(wanted)].filter(visible));
        // A group of radio buttons is one stop: the arrows choose within it.
        document.addEventListener("focusin", event => {
            const {type, name} = event.target;
            const group = document.querySelectorAll(`input[type="radio"][name="${name}"]`);
            const reached = type === "radio" ? group : [event.target];
            reached.forEach(element => window.waiting.delete(element));
        });
    }"""
    )
    for _ in range(400):
        page.keyboard.press("Tab")
        if not page.evaluate("window.waiting.size"):
            break
    left = page.evaluate("[...window.waiting].map(e => e.outerHTML.slice(0, 120))")
    assert left == []


def test_a_word_is_explained_by_keyboard_and_goes_away_again(visit):
    page = visit("sparsity/k_wta/")
    term = page.locator("button.term").first
    term.focus()
    page.keyboard.press("Enter")
    definition = page.locator(f"#{term.get_attribute('popovertarget')}")
    assert definition.is_visible()
    assert definition.locator("a").count() == 1
    page.keyboard.press("Escape")
    assert not definition.is_visible()


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("kwta", "k-winners-take-all"),
        ("k-WTA", "k-winners-take-all"),
        ("KWinnersTakeAll", "k-winners-take-all"),
        ("CSRLinear", "CSR layer"),
        ("RigL", "RigL"),
        ("erdos", "Erdős–Rényi sparsity"),
        ("million_neurons", "A million neurons"),
    ],
)
def test_the_search_finds_names_as_people_type_them(visit, words, title):
    page = visit("")
    page.get_by_role("textbox", name="Search").fill(words)
    page.wait_for_selector(".md-search-result__item")
    titles = page.locator(".md-search-result__item h1").all_inner_texts()
    assert title in [re.sub(r"\s+", " ", text) for text in titles[:4]]


def test_pointing_at_a_node_shows_its_arrows(visit):
    page = visit("map/")
    edge = page.locator("svg.map path.to-k_wta").first
    opacity = "element => getComputedStyle(element).opacity"
    assert edge.evaluate(opacity) < "0.5"
    page.locator("a.at-k_wta").hover()
    assert edge.evaluate(opacity) == "1"
    page.locator("a.at-k_wta").click()
    assert page.url.endswith("/sparsity/k_wta/")


def test_the_search_index_has_every_entry_once(site):
    documents = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    locations = [document["location"] for document in documents]
    for entry in entries():
        assert locations.count(f"{entry.chapter}/{entry.slug}/") == 1
