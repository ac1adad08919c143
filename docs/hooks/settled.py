"""Writes what the site says of claims: verdicts, worked out from what was measured."""

from functools import cache
from pathlib import Path

from lexicon.catalog import Entry
from lexicon.terminal.bench.claims import CLAIMS, Claim, Finding, claim, kept_rows, settle

FOLDER = Path(__file__).parents[1] / "measured" / "claims"


@cache
def finding(name: str) -> Finding:
    """Judge a claim by the rows that are committed."""
    return settle(claim(name), kept_rows(claim(name), FOLDER))


def forget() -> None:
    """Judge anew: rows and modules may have changed since."""
    finding.cache_clear()
    claim.cache_clear()


def claims_page() -> str:
    """List all claims with their verdicts, then each with what was run and found."""
    overviews, sections = [], []
    for group, names in CLAIMS.items():
        overviews.append(f"## {group}\n\n| claim | verdict |\n| --- | --- |\n")
        overviews += [
            f"| [{claim(name).says}](#{name}) | **{finding(name).verdict}** |\n" for name in names
        ]
        overviews.append("\n")
        sections += [_section(claim(name), finding(name)) for name in names]
    return "".join(overviews) + "## Claim by claim\n\n" + "\n".join(sections)


def verdicts(entry: Entry) -> str:
    """Say of an entry what was found of the claims that concern it."""
    found = [
        f"- [{claim(name).says}](../claims.md#{name}) {_sentence(finding(name).verdict)}\n"
        for names in CLAIMS.values()
        for name in names
        if entry in claim(name).concerns
    ]
    return "**Said of it, and measured**\n\n" + "".join(found) if found else ""


def in_short(name: str) -> str:
    """Say in a paragraph what was found of a claim."""
    found = finding(name)
    return (
        f"*Measured:* [{claim(name).says}](claims.md#{name}) "
        f"**{_sentence(found.verdict)}** {found.result}"
    )


def _section(claim: Claim, found: Finding) -> str:
    _, last = kept_rows(claim, FOLDER)[-1]
    rows = [found.headings, ("---", *["---:"] * (len(found.headings) - 1)), *found.table]
    table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    how = (
        f"{claim.run}\n\n*Decided beforehand.* {claim.tolerance}\n\n{table}\n"
        f"`lexicon bench claims {claim.name}`; {last['machine']}; {last['versions']}; "
        f"{last['date']}. [The rows behind it](measured/claims/{claim.name}.jsonl)."
    )
    indented = "".join(f"    {line}\n" if line else "\n" for line in how.splitlines())
    concerns = ", ".join(f"[{e.title}]({e.chapter}/{e.slug}.md)" for e in claim.concerns)
    return (
        f"### {claim.says} {{ #{claim.name} }}\n\n"
        f"**{_sentence(found.verdict)}** {found.result}\n\n"
        f'??? note "What was run, what decides, and the numbers"\n\n{indented}\n'
        f"It concerns {concerns}.\n"
    )


def _sentence(verdict: str) -> str:
    return f"{verdict[0].upper()}{verdict[1:]}."
