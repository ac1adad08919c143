import random

import pytest
from rich.console import Console

from lexicon.terminal.differences import changed_lines, comparison, paired_lines, tabulated


def drawn(renderable, width=80):
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable, soft_wrap=True)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("a\nb\nc\n", "a\nx\nc\nd\n", [False, True, False, True]),
        ("a\nb\n", "b\n", [False]),
        ("", "a\n", [True]),
        ("a\n", "", []),
        ("", "", []),
    ],
)
def test_changed_lines_are_those_that_differ(before, after, changed):
    assert changed_lines(before, after) == changed


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        ("n 1\n", "n 2\n", [("n 1", "n 2")]),
        # One more row: the last line keeps its partner, and the new row has none.
        (
            "1 0.5\n2 0.4\nloss 0.5\n",
            "1 0.6\n2 0.5\n3 0.4\nloss -1e-3\n",
            [("1 0.5", "1 0.6"), ("2 0.4", "2 0.5"), (None, "3 0.4"), ("loss 0.5", "loss -1e-3")],
        ),
        ("a\nb\n", "b\n", [("a", None), ("b", "b")]),
        ("a\n", "b\nc\n", [("a", "b"), (None, "c")]),
    ],
)
def test_lines_stand_beside_what_they_became(before, after, pairs):
    assert paired_lines(before, after) == pairs


def test_no_line_is_lost_and_none_is_out_of_order():
    rng = random.Random(0)
    for _ in range(500):
        old, new = ([rng.choice("ab1 2") * rng.randint(1, 2) for _ in range(rng.randint(0, 7))]
                    for _ in range(2))  # fmt: skip
        pairs = paired_lines("\n".join(old), "\n".join(new))
        assert [one for one, _ in pairs if one is not None] == "\n".join(old).splitlines()
        assert [one for _, one in pairs if one is not None] == "\n".join(new).splitlines()
        assert all(pair != (None, None) for pair in pairs)


def test_a_thousand_equal_lines_do_not_take_for_ever():
    assert sum(changed_lines("x\n" * 1000, "x\n" * 1000 + "y\n")) == 1


def test_both_values_stand_side_by_side_where_there_is_room():
    shown = comparison("same\nloss  0.50\n", "same\nloss  0.25\nnew\n", ("K = 5", "K = 1"), 40)
    assert drawn(shown) == [
        "  K = 5      | K = 1",
        "  same       | same",
        "> loss  0.50 | loss  0.25",
        ">            | new",
    ]


def test_a_long_line_that_is_the_same_does_not_take_the_room():
    shown = comparison(
        "a heading of some length\nn 1\n", "a heading of some length\nn 2\n", ("b", "n"), 30
    )
    assert drawn(shown) == ["  b   | n", "  a heading of some length", "> n 1 | n 2"]


def test_both_values_stand_one_below_the_other_where_it_is_narrow():
    shown = comparison("same\nloss  0.50\ngone\n", "same\nloss  0.25\n", ("K = 5", "K = 1"), 20)
    assert drawn(shown) == [
        "- K = 5",
        "+ K = 1",
        "  same",
        "- loss  0.50",
        "+ loss  0.25",
        "- gone",
    ]


def test_what_exactly_changed_is_bold_on_both_sides():
    console = Console(width=40, highlight=False, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(comparison("loss 0.5 x\n", "loss 0.7 x\n", ("a", "b"), 40))
    printed = capture.get()
    assert "\x1b[1;31m 0.5" in printed
    assert "\x1b[1;32m 0.7" in printed
    assert "\x1b[31mloss\x1b" in printed


def test_several_runs_become_a_table():
    outputs = {"K = 1": "same\nat loss 1 of 9\n", "K = 2": "same\nat loss 2 of 9\n"}
    assert drawn(tabulated(outputs, 80)) == ["         K = 1   K = 2", "at loss  1 of 9  2 of 9"]


def test_rows_of_bare_numbers_stand_one_below_the_other():
    outputs = {"K = 1": "n loss\n1 0.5\n2 0.4\n", "K = 10": "n loss\n1 0.6\n2 0.5\n"}
    assert drawn(tabulated(outputs, 80)) == [
        "K = 1   1 0.5",
        "K = 10  1 0.6",
        "",
        "K = 1   2 0.4",
        "K = 10  2 0.5",
    ]
    assert drawn(tabulated({"A = 1": "loss 1\n", "A = 2": "loss 2\n"}, 10)) == [
        "A = 1  loss 1",
        "A = 2  loss 2",
    ]


def test_outputs_of_other_lengths_are_shown_whole():
    outputs = {"K = 1": "a 1\n", "K = 2": "a 1\na 2\n"}
    assert drawn(tabulated(outputs, 80)) == ["K = 1", "a 1", "", "K = 2", "a 1", "a 2"]


@pytest.mark.parametrize(("width", "beside"), [(13, True), (12, False)])
def test_side_by_side_begins_exactly_where_all_fits(width, beside):
    shown = drawn(comparison("n 12\n", "n 34\n", ("a", "b"), width))
    assert (shown == ["  a    | b", "> n 12 | n 34"]) == beside
    assert max(map(len, shown)) <= width


@pytest.mark.parametrize("titles", [("a long title", "b"), ("a", "a long title")])
def test_titles_take_part_in_what_has_to_fit(titles):
    for width in range(8, 30):
        shown = drawn(comparison("n 1\n", "n 2\n", titles, width))
        left, right = (max(3, len(title)) for title in titles)  # the lines take three
        assert ("|" in shown[0]) == (width >= 2 + left + 3 + right)
        assert all(title in "".join(shown) for title in titles)


@pytest.mark.parametrize(("width", "table"), [(18, True), (17, False)])
def test_a_table_of_runs_begins_exactly_where_all_fits(width, table):
    shown = drawn(tabulated({"A = 1": "loss 1\n", "A = 2": "loss 2\n"}, width))
    assert (shown[0].split() == ["A", "=", "1", "A", "=", "2"]) == table


def test_lines_that_differ_only_in_blanks_come_to_an_end():
    assert "a b" in "".join(drawn(tabulated({"A = 1": "a  b\n", "A = 2": "a b\n"}, 80)))


def test_a_line_of_thousands_of_words_is_compared_at_once():
    old, new = (" ".join(str(i * k) for i in range(5000)) + "\n" for k in (1, 3))
    assert len(comparison(old, new, ("a", "b"), 80).plain) > len(old)
