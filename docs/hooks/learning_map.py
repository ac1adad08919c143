"""Draws the entries and what stands on what: chapters as lanes, depth from left to right."""

import html
from collections import defaultdict
from collections.abc import Callable, Iterable

from lexicon.catalog import Entry, entries

COLUMN, ROW, NODE_WIDTH, NODE_HEIGHT, LANE_GAP = 216, 30, 184, 24, 26


def svg(shown: list[Entry], *, link: Callable[[Entry], str], lanes: bool) -> str:
    """Draw a map.

    Parameters
    ----------
    shown : list of Entry
        What to draw, in reading order.
    link : callable
        Gives an entry's address.
    lanes : bool
        Whether to name the chapters.

    Returns
    -------
    str
        An ``<svg>`` element. Each node is a link. Of the arrows, those are left out that follow
        from others.
    """
    places, names, height = _places(shown, lanes=lanes)
    width = max(x for x, _ in places.values()) + NODE_WIDTH + 8
    edges, rules, nodes = [], [], []
    for entry in shown:
        x, y = places[entry]
        for other in needed(entry, shown):
            start, end = places[other][0] + NODE_WIDTH, x
            middle, above = (start + end) / 2, places[other][1] + NODE_HEIGHT / 2
            edges.append(
                f'<path class="from-{other.slug} to-{entry.slug}" d="M{start} {above}'
                f'C{middle} {above} {middle} {y + NODE_HEIGHT / 2} {end} {y + NODE_HEIGHT / 2}"/>'
            )
        rules.append(
            f".map:has(.at-{entry.slug}:is(:hover, :focus)) "
            f":is(.from-{entry.slug}, .to-{entry.slug})"
        )
        nodes.append(
            f'<a class="at-{entry.slug}" href="{link(entry)}"><title>{html.escape(entry.summary)}'
            f'</title><rect x="{x}" y="{y}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="4"/>'
            f'<text x="{x + 8}" y="{y + 16}">{html.escape(entry.title)}</text></a>'
        )
    lit = ",".join(rules)
    return (
        f'<div class="map-frame" tabindex="0" role="region" aria-label="Learning map">'
        f'<svg class="map" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{lit}{{opacity:1;stroke-width:2.5}}</style>"
        f'{"".join(names)}<g class="edges">{"".join(edges)}</g>{"".join(nodes)}</svg></div>'
    )


def needed(entry: Entry, shown: Iterable[Entry]) -> list[Entry]:
    """Return what an entry stands on, without what those already stand on."""
    direct = [other for other in entry.prerequisites if other in shown]
    return [
        other
        for other in direct
        if not any(other in between.path for between in direct if between != other)
    ]


def depths() -> dict[Entry, int]:
    """Return of each entry how many others stand below it, one on the other."""
    found: dict[Entry, int] = {}
    for entry in entries():  # what an entry needs comes before it
        found[entry] = 1 + max((found[other] for other in entry.prerequisites), default=-1)
    return found


def _places(
    shown: list[Entry], *, lanes: bool
) -> tuple[dict[Entry, tuple[int, int]], list[str], int]:
    places: dict[Entry, tuple[int, int]] = {}
    names: list[str] = []
    depth = depths()
    columns = sorted({depth[entry] for entry in shown})
    top = 4
    for chapter in dict.fromkeys(entry.chapter for entry in shown):
        if lanes:
            names.append(f'<text class="lane" x="4" y="{top + 14}">{chapter.capitalize()}</text>')
            top += LANE_GAP
        rows: dict[int, int] = defaultdict(int)
        for entry in (entry for entry in shown if entry.chapter == chapter):
            column = columns.index(depth[entry])
            places[entry] = (4 + column * COLUMN, top + rows[column] * ROW)
            rows[column] += 1
        top += max(rows.values()) * ROW + (12 if lanes else 0)
    return places, names, top
