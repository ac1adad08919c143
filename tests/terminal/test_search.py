from dataclasses import dataclass
from pathlib import Path

import pytest

from lexicon.catalog import entries
from lexicon.terminal import search as module
from lexicon.terminal.pages import plain_text
from lexicon.terminal.search import search


def found(words):
    return [hit.entry.slug for hit in search(words)]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_every_entry_is_found_first_by_its_name_and_its_title(entry):
    assert found(entry.slug)[0] == entry.slug
    assert found(entry.title)[0] == entry.slug
    assert found(entry.title.upper())[0] == entry.slug


@pytest.mark.parametrize(
    ("words", "slugs"),
    [
        ("kwta", ["k_wta"]),
        ("k-WTA", ["k_wta"]),
        ("k_wta", ["k_wta"]),
        ("CSRLinear", ["csr_layer"]),
        ("csr linear", ["csr_layer"]),
        ("dead neurons", ["relu_sparsity", "boosting"]),
        ("prune small weights", ["magnitude_prune"]),
        ("prune filters", ["filter_prune"]),
        ("erdos renyi", ["erdos_renyi"]),
        ("million", ["million_neurons"]),
        ("what is a neuron", ["neuron"]),
        ("how to initialize weights", ["weight_initialization"]),
        ("weight initialisation", ["weight_initialization"]),
        ("Erdős", ["erdos_renyi"]),
        ("predict digits wrongly", []),
        # misspelt
        ("momentm", ["momentum"]),
        ("maks", ["mask"]),
        ("rewirring", ["rewiring"]),
        ("softmaks", ["softmax"]),
        ("backpropogation", ["backpropagation"]),
        ("crossentropy", ["cross_entropy"]),
    ],
)
def test_words_find_what_a_person_means(words, slugs):
    assert found(words)[: len(slugs)] == slugs


def test_the_matching_sentence_is_shown():
    hit = search("dead neurons")[0]
    assert "`dead_neurons`" in hit.line
    assert set(hit.matched) == {"dead", "neuron"}
    (hit,) = [hit for hit in search("cortex") if hit.entry.slug == "k_wta"]
    assert hit.line.startswith("The model is the cortex")


@pytest.mark.parametrize("words", ["", "  ", "xyzzyq", "?!", "_", "$$"])
def test_nothing_is_found_for_nothing(words):
    assert search(words) == []


def test_entries_with_all_words_come_before_those_with_one():
    hits = search("winners cortex")
    assert hits[0].entry.slug == "k_wta"
    assert set(hits[0].matched) <= {"winner", "cortex"}


def test_as_many_as_asked_for():
    assert len(search("the", limit=3)) == 3


def test_sentences_have_no_markup_of_blocks():
    for words in ("predict", "known bound", "neuron", "shape"):
        for hit in search(words):
            assert not any(sign in hit.line for sign in ("???", "$$", "<!--", "```", "\n"))
            assert not hit.line.startswith(("- ", "|", "#"))


def test_a_rare_word_counts_more_than_a_common_one():
    assert "cortex" in search("neurons cortex")[0].line
    assert search("a neuron and the cortex")[0].entry.slug == "k_wta"


@dataclass(frozen=True)
class Page:
    """What a search reads of an entry."""

    slug: str
    page: Path
    module: Path
    title: str = "A page"
    summary: str = "A line."


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """Search in these texts only; their names are a, b, c."""

    def write(*texts, **of_the_last):
        found = []
        for slug, text in zip("abcdefghijklmnop", texts, strict=False):
            page, source = tmp_path / f"{slug}.md", tmp_path / f"{slug}.py"
            page.write_text(f"# A page\n\n{text}\n", encoding="utf-8")
            source.write_text("")
            found.append(Page(slug, page, source, **(of_the_last if text == texts[-1] else {})))
        monkeypatch.setattr(module, "entries", lambda: found)

    return write


@pytest.mark.parametrize(
    ("words", "texts", "order"),
    [
        # in two sentences, so that only the words themselves count
        ("rare often", ["Often.", "Rare.", "Often."], "bac"),
        ("wanted", ["It is wanted. And wanted.", "## Wanted\n\nNothing."], "ba"),
        ("wanted", ["It is unwanted.", "It is wanted."], "b"),
        ("want", ["Wantonness.", "Want."], "ba"),
        ("one two", ["One.\n\nTwo.", "One, two."], "ba"),
        ("walked known", ["Walk.", "Known."], "ab"),
        ("wanted", ["```text\nwanted\n```", "Wanted.", "| wanted |"], "b"),
        # misspelt: what it may mean counts half
        ("thresold known", ["The threshold.", "Known.", "Other."], "ba"),
        ("thresold", ["The threshold.", "The thesolid."], "a"),
    ],
)
def test_what_counts_more_comes_first(pages, words, texts, order):
    pages(*texts)
    assert "".join(found(words)) == order


def test_the_best_is_found_also_among_few(pages):
    pages("One.\n\nTwo.", "One, two.")
    assert [hit.entry.slug for hit in search("one two", limit=1)] == ["b"]


def test_a_summary_counts_more_than_a_heading(pages):
    pages("## Wanted\n\nNothing.", "Nothing.", summary="Something wanted.")
    assert found("wanted") == ["b", "a"]


def test_a_word_that_only_the_code_has_is_shown_there():
    (hit, *_) = search("gelu")
    assert hit.entry.slug == "activation"
    assert plain_text(hit.line).startswith("def gelu(x: np.ndarray) -> tuple[")
    assert hit.matched == ("gelu",)
