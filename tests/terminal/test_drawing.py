import re

import pytest
from rich.console import Console

from lexicon.catalog import find
from lexicon.terminal.drawing import Page, code
from lexicon.terminal.pages import terminal_page


def drawn(markdown, width=80, **settings):
    console = Console(width=width, color_system=None, **settings)
    with console.capture() as capture:
        console.print(Page(markdown))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [20, 30, 60, 80, 120])
def test_no_sign_of_code_is_lost_at_any_width(width):
    source = find("csr_layer").module.read_text(encoding="utf-8")
    lines = drawn(f"````python\n{source}````", width)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", source)
    assert width < 60 or max(map(len, lines)) <= width


def test_a_line_that_is_too_long_goes_on_further_in():
    lines = drawn("```python\n    value = first_name + second_name + third_name\n```", 40)
    assert [line for line in lines if line] == [
        "      value = first_name +",
        "          second_name + third_name",
    ]


def test_a_drawing_that_is_too_wide_loses_nothing():
    wide = "a ── b ── c ── d ── e ── f ── g ── h"
    lines = drawn(f"```text\n{wide}\n```", 24)
    assert "".join(line[2:] for line in lines).replace(" ", "") == wide.replace(" ", "")


def test_headings_are_underlined_and_lists_numbered_with_a_dot():
    lines = drawn("# One\n\n## Two\n\n### Three\n\n1. first\n2. second")
    assert lines[:2] == ["One", "==="]
    assert lines[lines.index("Two") + 1] == "---"
    assert lines[lines.index("Three") + 1] == ""
    assert lines[-2:] == ["  1. first", "  2. second"]


def test_a_long_item_goes_on_below_its_first_word():
    lines = drawn("1. one two three four five", 20)
    assert [line for line in lines if line] == ["  1. one two three", "     four five"]


def test_tables_keep_every_letter_where_it_is_narrow():
    lines = drawn("| probabilities | b |\n| --- | --- |\n| 0.123456789 | 2 |", 14)
    text = re.sub(r"\s|─", "", "".join(lines))
    assert "…" not in text
    assert sorted(text) == sorted("probabilitiesb0.1234567892")


def test_code_is_coloured_and_docstrings_are_dim():
    spans = {str(span.style) for span in code('def f():\n    """Do."""\n    return 1').spans}
    assert any("magenta" in style for style in spans)
    assert any("dim" in style for style in spans)
    assert any("cyan" in style for style in spans)


def test_a_whole_page_has_no_sign_of_markdown_left():
    text = "\n".join(drawn(terminal_page(find("k_wta"))))
    assert "**" not in re.sub(r'"""|\*\*2', "", text)
    assert "##" not in text
    assert "```" not in text
