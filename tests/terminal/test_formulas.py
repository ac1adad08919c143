import re
import unicodedata
from collections import Counter

import pytest

from lexicon.catalog import entries
from lexicon.terminal.formulas import display, inline


@pytest.mark.parametrize(
    ("tex", "sign"),
    [
        (r"y = x W^\top + b", "y = xWᵀ + b"),
        (r"n_\text{in}", "nᵢₙ"),
        (r"\sum_j dy_{nj} \, W_{ji}", "Σⱼ dyₙⱼ Wⱼᵢ"),
        (r"\sigma(x)(1 - \sigma(x))", "σ(x)(1 - σ(x))"),
        (r"-1 \cdot 10", "-1⋅10"),
        (r"x = -\frac{1}{3}", "x = -1/3"),
        (r"\frac{1}{2}(y - 1)^2", "(1/2) (y - 1)²"),
        (r"\frac{k_i}{n_\text{in}} q(x)", "(kᵢ/nᵢₙ) q(x)"),
        (r"\frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}", "(m̂ₜ)/(√(v̂ₜ) + ε)"),
        (r"\frac{a}{bc}", "a/(bc)"),
        (r"\|x - y\|_2^2", "∥x - y∥₂²"),
        (r"D_\text{KL}(p \,\|\, q)", "D_KL(p ∥ q)"),
        (r"e^{z_i / T}", "e^(zᵢ/T)"),
        (r"y_i^2", "yᵢ²"),
        (r"\sqrt{0.9}", "√0.9"),
        (r"\sqrt[3]{xy}", "³√(xy)"),
        (r"p_y", "p_y"),
        (r"\operatorname*{argmax}_\theta L", "argmax_θL"),
        (r"\frac{\eta}{2 - \eta} \cdot \frac{5}{3} = \frac{5}{9}", "η/(2 - η) ⋅5/3 = 5/9"),
        (r"\sqrt{3^2 + 4^2} = 5", "√(3² + 4²) = 5"),
        (r"\lVert g \rVert", "∥g∥"),
        (r"dx = dy \odot f'(x)", "dx = dy ⊙ f'(x)"),
        ("W_{2,ij}", "W_(2,ij)"),
        (r"\log p_j", "log pⱼ"),
    ],
)
def test_inline_formulas_take_one_line(tex, sign):
    assert inline(tex) == sign


def test_display_formulas_are_drawn_as_on_paper():
    assert display(r"p = \frac{a}{b + c}").splitlines() == [
        "        a",
        " p = ╶─────╴",
        "      b + c",
    ]
    assert display(r"\begin{pmatrix} 1 & 22 \\ 3 & 4 \end{pmatrix}").splitlines() == [
        " ⎛1 22⎞",
        " ⎝3 4 ⎠",
    ]
    assert display(r"y = \begin{cases} x & \text{if } x > 0 \\ 0 & \text{else} \end{cases}") == (
        "     ⎧x  if x > 0\n y = ⎩0  else"
    )


def test_the_order_of_two_scripts_does_not_matter():
    assert inline("M^{(l)}_{ij} + W^2_1") == inline("M_{ij}^{(l)} + W_1^2") == "Mᵢⱼ⁽ˡ⁾ + W₁²"
    assert display("M^{(l)}_{ij}") == display("M_{ij}^{(l)}") == " Mᵢⱼ⁽ˡ⁾"


def test_letters_without_small_signs_are_not_replaced_by_others():
    assert inline("y_I + f_{S} + x^Z + f_s + f_y") == "y_I + f_S + x^Z + fₛ + f_y"
    assert [line.split() for line in display("y_I = f_S").splitlines()] == [
        ["y", "=", "f"],
        ["I", "S"],
    ]


def test_what_is_too_wide_is_broken_at_a_quad():
    tex = r"\text{first} = \frac{1}{2}, \qquad \text{second} = \begin{pmatrix} 1 & \quad 2"
    tex += r" \end{pmatrix}"
    assert len(display(tex, 80).splitlines()) == 3
    narrow = display(tex, 25).splitlines()
    assert len(narrow) == 5  # three lines, an empty one, one line
    assert max(map(len, narrow)) <= 25
    assert "first" in narrow[1]
    assert narrow[3] == ""
    assert "second" in narrow[4]


def test_a_command_that_cannot_be_drawn_is_an_error():
    for tex in (r"\unheardof{x}", r"\frac{1}", "x_{", "∑", r"\genfrac{a}"):
        for draw in (display, inline):
            with pytest.raises(ValueError, match="in the formula"):
                draw(tex)
    assert inline("a ? b") == "a?b"


def formulas(entry):
    page = entry.page.read_text(encoding="utf-8")
    page = re.sub(r"^`{3,}.*?^`{3,}$|`[^`\n]+`", "", page, flags=re.MULTILINE | re.DOTALL)
    for tex in re.findall(r"\$\$\n(.+?)\n *\$\$", page, flags=re.DOTALL):
        yield display, tex
    for tex in re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.+?\$\$", "", page, flags=re.DOTALL)):
        yield inline, tex


def letters(text):
    """Count letters and digits; those that TeX writes as words count as such in both."""
    text = text.replace(r"\lVert", "∥").replace(r"\rVert", "∥").replace(r"\|", "∥")
    text = re.sub(r"\\(?:log|ln|max|min|arg|tanh|cos|exp)(?![a-z])", lambda m: m[0][1:], text)
    text = text.replace(r"\top", "T").replace("⊤", "T")
    text = re.sub(r"\\(?:begin|end)\{\w+\}|\\[a-zA-Z]+|\\.", " ", text)
    text = text.replace("ᵧ", "y")  # there is no subscript y: a gamma stands in
    return Counter(re.sub(r"[^a-zA-Z0-9+∥]", "", unicodedata.normalize("NFKD", text)))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_no_letter_of_any_formula_is_lost(entry):
    for draw, tex in formulas(entry):
        drawn = draw(tex)
        assert letters(drawn) == letters(tex), drawn
        if draw is inline:
            assert drawn.count("Σ") == tex.count(r"\sum") + tex.count(r"\Sigma"), drawn
            assert drawn.count("√") == tex.count(r"\sqrt"), drawn
            assert drawn.count("(") == drawn.count(")"), drawn
            slashes = drawn.count("/") + drawn.count("ᐟ")  # the second is the small one
            assert slashes >= tex.count("/") + tex.count(r"\frac"), drawn
        assert "?" not in drawn
        assert "\\" not in drawn
        assert draw is display or "\n" not in drawn


def test_aligned_formulas_stay_in_columns():
    tex = r"\begin{aligned} a &= b & cc &= d \\ aaa &= b & c &= \frac{1}{2} \end{aligned}"
    drawn = display(tex).splitlines()
    assert [line.find("=") for line in drawn if line.count("=") == 2] == [5, 5]
    assert len({line.rfind("=") for line in drawn if "=" in line}) == 1


def test_several_lines_where_one_is_wanted_are_an_error():
    with pytest.raises(ValueError, match="several lines"):
        inline(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}")
