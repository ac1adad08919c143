import pytest

from lexicon.catalog import SECTIONS, entries, find
from lexicon.terminal.examples import run_command
from lexicon.terminal.pages import fenced, plain_markdown, plain_text, section, terminal_page


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_every_page_is_filled(entry):
    page = terminal_page(entry)
    assert "<!--" not in page
    assert "???" not in page
    assert entry.module.read_text(encoding="utf-8").rstrip() in page
    assert entry.example.read_text(encoding="utf-8").rstrip() in page
    assert all(reference in page for reference in entry.references)
    assert all(f"`{other.slug}`" in page for other in entry.prerequisites)
    for check in entry.checks:
        assert f"\n**{plain_markdown(check.question)}**\n" in page
        quoted = plain_markdown(check.answer.splitlines()[-1])
        assert f"\n> {quoted}\n" in page
    for knob in entry.knobs:
        for value in knob.tries:
            assert f"- `{run_command(entry, knob, value)}`" in page
    needed_by = page.rpartition("**Needed by:**")[2] if entry.dependents else ""
    assert all(f"`{other.slug}`" in needed_by for other in entry.dependents)


def test_the_sections_of_a_page_are_the_page():
    page = terminal_page(find("k_wta"))
    parts = [section(page, heading) for heading in SECTIONS]
    assert all(part.startswith("## ") for part in parts)
    title = page.partition("\n## ")[0]
    assert "\n".join([title, *parts]) == page


def test_links_pictures_and_formulas_become_words():
    text = (
        "See [mask](mask.md#a), [x](https://x.org) and ![three lines](a.svg):\n\n"
        "$$\ny = x^2\n$$\n\nwith $x_i$ and `a$b$c`."
    )
    assert plain_markdown(text) == (
        "See mask, [x](https://x.org) and *On the site there is a figure here:* three lines:\n\n"
        "```text\n y = x²\n```\n\nwith xᵢ and `a$b$c`."
    )


def test_signs_of_a_formula_are_not_markup():
    assert plain_markdown("$W_{2,ij}$ and $a * b$") == r"W\_(2,ij) and a\*b"
    assert plain_markdown("the part\n$-x - y$ of it") == "the part\n\\-x - y of it"
    assert plain_text("**No** `W` $W_{2,ij}$ [mask](mask.md)") == "No W W_(2,ij) mask"


def test_amounts_of_dollars_are_no_formula():
    for text in ("from $5 to $6", "$ x$ and $x $", r"\$x$", "`$x$`"):
        assert plain_markdown(text) == text


def test_a_bar_of_a_formula_does_not_end_a_cell_of_a_table():
    assert plain_markdown(r"| $\lvert w \rvert$ | 2 |") == r"| \|w\| | 2 |"


def test_a_fence_is_longer_than_any_inside():
    assert fenced("text", "a\n````\nb") == "`````text\na\n````\nb\n`````"


def test_formulas_and_code_in_answers_are_replaced_and_kept():
    text = (
        '    so\n\n    $$\n    y = \\frac{a}{b}\n    $$\n\n    ```python\n    x = "$1"  # $x$\n'
        "    ```\n\n    It costs $5 and then $6.\n"
    )
    assert plain_markdown(text) == (
        "    so\n\n    ```text\n          a\n     y = ╶─╴\n          b\n    ```\n\n"
        '    ```python\n    x = "$1"  # $x$\n    ```\n\n    It costs $5 and then $6.\n'
    )


def test_what_follows_an_answer_is_not_part_of_it():
    page = terminal_page(find("k_wta"))
    assert "\n## Related.\n\nMask holds the exact choice of k." in page
    assert "> Mask" not in page
