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


def test_what_is_the_same_in_all_runs_stands_once_above_what_is_not():
    outputs = {
        "5": "dense or not\n n  loss\n 1   0.5\n 2   0.4\n\nall read\n",
        "10": "dense or not\n n  loss\n 1   0.6\n 2   0.5\n\nall read\n",
    }
    assert drawn(tabulated("K", outputs, 80)) == [
        "K",
        "    dense or not",
        "     n  loss",
        "5    1   0.5",
        "10   1   0.6",
        "",
        "5    2   0.4",
        "10   2   0.5",
        "",
        "    all read",
    ]
    console = Console(width=80, highlight=False, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(tabulated("K", outputs, 80))
    dim = [line.startswith("\x1b[2m ") for line in capture.get().splitlines()]
    assert [i for i, one in enumerate(dim) if one] == [1, 2, 9]


@pytest.mark.parametrize(
    ("first", "second", "width"),
    [
        ("a 1\n", "a 1\na 2\n", 80),
        ("a 1\n", "a 2\n", 5),
        ("a 1 and more\nb 1\n", "a 1 and more\nb 2\n", 14),
        ("+ -\n. .\n", "+ -\n- -\n", 80),
    ],
    ids=["lengths", "width", "width of a heading", "picture"],
)
def test_outputs_that_cannot_be_split_are_shown_whole(first, second, width):
    assert drawn(tabulated("K", {"1": first, "2": second}, width)) == [
        "K = 1",
        *first.splitlines(),
        "",
        "K = 2",
        *second.splitlines(),
    ]


def test_columns_are_those_of_the_terminal():
    before, after = "数据\t1\nn\u0303 1\na\tb\n", "数据集\t1\nn\u0303 2\na\tb\n"
    assert drawn(comparison(before, after, ("前", "after"), 40)) == [
        "  前          | after",
        "> 数据      1 | 数据集     1",
        "> n\u0303 1         | n\u0303 2",
        "  a       b   | a       b",
    ]
    assert drawn(comparison("数据数据\n", "a\n", ("b", "n"), 13))[0] == "- b"
    assert drawn(comparison("a\n", "数据数据\n", ("b", "n"), 13))[0] == "- b"
    assert drawn(comparison("数据\nlong 1\n", "数据\nlong 2\n", ("b", "n"), 17)) == [
        "  b      | n",
        "  数据   | 数据",
        "> long 1 | long 2",
    ]
    # Its cells are more than there are on the left, its characters are not.
    assert drawn(comparison("数据据\nn 1\n", "数据据\nn 2\n", ("b", "n"), 20))[1] == "  数据据"
    assert drawn(tabulated("K", {"'数'": "a\tb 1\n", "'n'": "a\tb 2\n"}, 17)) == [
        "K",
        "'数'  a       b 1",
        "'n'   a       b 2",
    ]
    assert drawn(tabulated("K", {"1": "数据 1\n", "2": "数据 2\n"}, 8))[0] == "K = 1"


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


@pytest.mark.parametrize(("width", "first"), [(9, "A"), (8, "A = 1")])
def test_runs_are_split_exactly_where_all_fits(width, first):
    shown = drawn(tabulated("A", {"1": "loss 1\n", "2": "loss 2\n"}, width))
    assert shown[0] == first


def test_lines_that_differ_only_in_blanks_come_to_an_end():
    assert "1  a  b" in drawn(tabulated("A", {"1": "a  b\n", "2": "a b\n"}, 80))


def test_a_line_of_thousands_of_words_is_compared_at_once():
    old, new = (" ".join(str(i * k) for i in range(5000)) + "\n" for k in (1, 3))
    assert len(comparison(old, new, ("a", "b"), 80).plain) > len(old)
