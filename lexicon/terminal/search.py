"""Finds entries by name, summary and text, also where a word is misspelt."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from math import log

from lexicon.catalog import Entry, entries

__all__ = ["Hit", "search"]

# What a word counts for where it stands.
_NAME, _SUMMARY, _HEADING, _TEXT = 12.0, 6.0, 3.0, 1.0
# Per cent of letters in common from which on a word may be meant: names are few, words are many.
_SIMILAR_NAME, _SIMILAR_WORD = 75.0, 80.0
# Words that say nothing of what is looked for.
_EMPTY = {"a", "an", "and", "are", "do", "does", "for", "how", "i", "in", "is", "it", "its", "my"}
_EMPTY |= {"not", "of", "on", "or", "the", "to", "too", "what", "when", "which", "why", "with"}
_NOT_TEXT = re.compile(
    r"^`{3}.*?^`{3}$|^ *\$\$\n.*?^ *\$\$$|^\|.*?\|$|<!--.*?-->", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Hit:
    """An entry that was found.

    Parameters
    ----------
    entry : Entry
        The entry.
    line : str
        The sentence of its page that matches best, or else the line of its module, Markdown.
    matched : tuple of str
        How the words in it begin that were found, in lower case.
    """

    entry: Entry
    line: str
    matched: tuple[str, ...]


@dataclass(frozen=True)
class _Text:
    """What can be found of an entry: parts in lower case with what they count, and sentences."""

    entry: Entry
    parts: list[tuple[float, str]]
    page: str

    def weight(self, stem: str) -> float:
        return sum(
            weight * max(_occurrences(stem, text), _occurrences(stem, _joined(text)))
            for weight, text in self.parts
        )

    def sentences(self) -> list[str]:
        found = [self.entry.summary]
        page = re.sub(r'^\?\?\? question "(.*)"$', r"\1", self.page, flags=re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n|^\s*(?:-|\d+\.) ", page, flags=re.MULTILINE)[1:]:
            found += re.split(r"(?<=[.!?]) ", " ".join(paragraph.split()).lstrip("# "))
        return [sentence for sentence in found if sentence]

    def definitions(self) -> list[str]:
        module = self.entry.module.read_text(encoding="utf-8")
        lines = re.findall(r"^\s*((?:def|class) .*\S)", module, re.MULTILINE)
        return [re.sub(r"([^\w\s])", r"\\\1", line) for line in lines]


def search(words: str, *, limit: int = 10) -> list[Hit]:
    """Rank the entries by how well they match some words.

    Parameters
    ----------
    words : str
        What to look for. A word is found in all its endings and as the beginning of a longer one;
        where it is found nowhere, what is written nearly so is looked for instead.
    limit : int, default 10
        How many entries to return at most.

    Returns
    -------
    list of Hit
        Best first: rare words count most, and more where they stand together in one sentence. Empty
        if no word is found anywhere.
    """
    texts = [_text(entry) for entry in entries()]
    scores = dict.fromkeys((text.entry for text in texts), 0.0)
    meant: list[tuple[list[str], float]] = []
    asked = list(dict.fromkeys(re.findall(r"[^\W_]+", _joined(_plain(words)))))
    for word in [word for word in asked if word not in _EMPTY] or asked:
        stems = [_stem(word)]
        weights = {text.entry: text.weight(stems[0]) for text in texts}
        if not any(weights.values()):
            stems = _similar(word, texts) if len(word) > 3 else []
            weights = {text.entry: 0.5 * sum(map(text.weight, stems)) for text in texts}
        having = sum(weight > 0 for weight in weights.values())
        rarity = log(1 + len(texts) / max(having, 1))
        for entry, weight in weights.items():
            # The tenth time that a word occurs says less than the first.
            scores[entry] += rarity * weight / (weight + 3)
        meant.append((stems, rarity))
    for text in texts:
        # Of "Momentum" and "Sparse momentum", who asks for momentum means the first.
        title = re.findall(r"[^\W_]+", _joined(_plain(text.entry.title)))
        named = sum(any(word.startswith(s) for stems, _ in meant for s in stems) for word in title)
        scores[text.entry] *= 1 + named / len(title)
    ranked = sorted((e for e in scores if scores[e]), key=lambda e: -scores[e])[: 3 * limit]
    by_entry = {text.entry: text for text in texts}
    hits = {}
    for entry in ranked:
        line, found = _best_sentence(by_entry[entry].sentences(), meant)
        if not found:
            line, found = _best_sentence([line, *by_entry[entry].definitions()], meant)
        hits[entry] = Hit(entry, line, tuple(found))
        share = sum(found.values()) / sum(rarity for _, rarity in meant)
        scores[entry] *= 1 + len(meant) * share
    return [hits[entry] for entry in sorted(hits, key=lambda e: -scores[e])[:limit]]


def _text(entry: Entry) -> _Text:
    page = _NOT_TEXT.sub("", entry.page.read_text(encoding="utf-8"))
    module = entry.module.read_text(encoding="utf-8")
    names = re.search(r"^__all__ = \[(.*?)\]", module, re.MULTILINE | re.DOTALL)
    text = _plain(page)
    parts = [
        (_NAME, _plain(f"{entry.title} {entry.slug} {names[1] if names else ''}")),
        (_SUMMARY, _plain(entry.summary)),
        (_HEADING, "\n".join(re.findall(r"^##.*$", text, re.MULTILINE))),
        (_TEXT, text),
    ]
    return _Text(entry, parts, page)


def _occurrences(stem: str, text: str) -> float:
    """Count the words that begin so; a longer one counts less."""
    found = 0.0
    start = text.find(stem)
    while start >= 0:
        end = start + len(stem)
        if start == 0 or not text[start - 1].isalnum():
            while end < len(text) and text[end].isalnum():
                end += 1
            found += len(stem) / (end - start)
        start = text.find(stem, end)
    return found


def _similar(word: str, texts: list[_Text]) -> list[str]:
    """Return the beginnings of words that are written nearly so, first of all in names."""
    from rapidfuzz import fuzz, process

    def near(parts: Iterable[str], cutoff: float) -> list[str]:
        known = {other for part in parts for other in re.findall(r"[^\W\d_]{3,}", part)}
        found = process.extract(
            word, sorted(known), scorer=fuzz.ratio, score_cutoff=cutoff, limit=5
        )
        best = max((score for _, score, _ in found), default=0.0)
        return list(dict.fromkeys(_stem(other) for other, score, _ in found if score > best - 5))

    names = (_joined(part) for text in texts for weight, part in text.parts if weight == _NAME)
    return near(names, _SIMILAR_NAME) or near(
        (part for text in texts for weight, part in text.parts if weight != _NAME), _SIMILAR_WORD
    )


def _best_sentence(
    sentences: list[str], meant: list[tuple[list[str], float]]
) -> tuple[str, dict[str, float]]:
    """Return the sentence with the rarest of the words, and those it has with their rarity."""

    def found(sentence: str) -> dict[str, float]:
        text = _plain(sentence)
        both = (text, _joined(text))
        return {
            next(stem for stem in stems if any(_occurrences(stem, t) for t in both)): rarity
            for stems, rarity in meant
            if any(_occurrences(stem, t) for stem in stems for t in both)
        }

    best = max(sentences, key=lambda sentence: sum(found(sentence).values()))
    return best, found(best)


def _plain(text: str) -> str:
    """Return a text in lower case, without accents, and in one of the two ways to spell it."""
    letters = unicodedata.normalize("NFKD", text.lower())
    without = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub(r"(?<=\w{3})is(?=(?:e|ed|es|ing|ation|er)s?\b)", "iz", without)


def _joined(text: str) -> str:
    """Return a text with names as one word: `k-WTA` and `k_wta` as `kWTA` and `kwta`."""
    return text.replace("-", "").replace("_", "")


def _stem(word: str) -> str:
    return re.sub(r"(?<=\w{4})(ing|ed|es|s|e)$", "", word)
