"""Finding the terms of `lexicon.toml` in rows of words, through dropped spaces and misread letters."""

import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .folding import chunks, confusion_key, one_edit_apart

# Only these are worth guessing at; a misread street or greeting decides nothing.
_GUESSED = frozenset(
    "sum final due sub incl excl tax rounding discount service cash paid change count summary date time"  # noqa: SIM905
    " invoice_no due_date".split()
)
_SHORTEST_GUESS = 5
_END = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A term in a row."""

    term: str
    """Without spaces."""
    classes: frozenset[str]
    start: int
    """First word, as a position in the row."""
    end: int
    """One past the last word."""
    at: int = 0
    """Counts the chunks before it; two hits next to each other differ by the chunks of the first."""


class Lexicon:
    """Terms of all languages.

    Where two languages mean different things by one term, the document's language decides, then English.
    """

    def __init__(self, path: Path) -> None:
        """Read a lexicon file. Raises OSError or tomllib.TOMLDecodeError."""
        table: dict[str, dict[str, list[str]]] = tomllib.loads(path.read_text(encoding="utf-8"))
        self.languages: tuple[str, ...] = tuple(table)
        self._meanings: dict[str, dict[str, set[str]]] = {}
        self._trie: dict[str, Any] = {}
        self._vocabulary: set[str] = set()
        guessed: set[str] = set()
        for language, classes in table.items():
            for name, terms in classes.items():
                for term in terms:
                    self._add(language, name, term)
                    if name in _GUESSED:
                        guessed.update(word for word in term.split() if len(word) >= _SHORTEST_GUESS)
        self._resolved: dict[tuple[str, str], frozenset[str]] = {}
        self._corrections: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._neighbours: dict[str, list[str]] = {}
        for word in sorted(guessed):
            key = confusion_key(word)
            self._keys.setdefault(key, word)
            for near in (key, *_deletions(key)):
                self._neighbours.setdefault(near, []).append(word)

    def _add(self, language: str, name: str, term: str) -> None:
        key = term.replace(" ", "")
        self._vocabulary.update(term.split())
        self._meanings.setdefault(key, {}).setdefault(language, set()).add(name)
        node = self._trie
        for char in key:
            node = node.setdefault(char, {})
        node[_END] = key

    def classes(self, term: str, language: str) -> frozenset[str]:
        """What a term means in a document of that language."""
        known = self._resolved.get((term, language))
        if known is None:
            meanings = self._meanings[term]
            chosen = meanings.get(language) or meanings.get("en")
            known = frozenset(chosen if chosen else {name for names in meanings.values() for name in names})
            self._resolved[(term, language)] = known
        return known

    def languages_of(self, term: str) -> Iterable[str]:
        """The languages that know a term."""
        return self._meanings[term].keys()

    def is_common(self, term: str, language: str) -> bool:
        """Whether a term only tells the language."""
        return self._meanings[term].get(language) == {"common"}

    def find(self, texts: Sequence[str], language: str = "en", gaps: Collection[int] = ()) -> list[Hit]:
        """The longest terms in a row of words, from left to right, none overlapping.

        No term reaches over a column gap; `gaps` are the positions of the words right of one.
        """
        owners: list[int] = []
        parts: list[str] = []
        for position, text in enumerate(texts):
            for chunk in chunks(text):
                owners.append(position)
                parts.append(self._correct(chunk))
        self._join_broken(parts)
        breaks = {k for k in range(1, len(owners)) if owners[k] in gaps and owners[k - 1] != owners[k]}
        hits: list[Hit] = []
        at = 0
        while at < len(parts):
            found = self._longest(parts, at, breaks) if parts[at] else None
            if found is None:
                at += 1
                continue
            terms, end = found
            for term in terms:
                hits.append(Hit(term, self.classes(term, language), owners[at], owners[end - 1] + 1, at))
            at = end
        return hits

    def _longest(self, parts: Sequence[str], at: int, breaks: Collection[int]) -> tuple[list[str], int] | None:
        """The longest term that starts at a chunk: its spelling, and one past its last chunk."""
        node: dict[str, Any] = self._trie
        best: tuple[list[str], int] | None = None
        for end in range(at, min(at + 8, len(parts))):
            if end > at and end in breaks:
                break
            for char in parts[end]:
                child = node.get(char)
                if child is None:
                    break
                node = child
            else:
                if _END in node:
                    best = ([node[_END]], end + 1)
                continue
            break
        if best is None and len(parts[at]) > _SHORTEST_GUESS and parts[at] not in self._vocabulary:
            glued = self._split(parts[at])
            best = (glued, at + 1) if glued else None
        return best

    def _split(self, chunk: str) -> list[str]:
        """A chunk without its spaces, e.g. `totalsalesinclgst`, as terms; [] unless they cover all of it."""
        if chunk.isdigit():
            return []
        reach: list[list[str] | None] = [[], *([None] * len(chunk))]
        for start in range(len(chunk)):
            so_far = reach[start]
            if so_far is None:
                continue
            node: dict[str, Any] = self._trie
            for end in range(start, len(chunk)):
                child = node.get(chunk[end])
                if child is None:
                    break
                node = child
                if _END not in node or (end - start < 2 and start == 0):
                    continue
                known = reach[end + 1]
                if known is None or len(known) > len(so_far) + 1:
                    reach[end + 1] = [*so_far, node[_END]]
        found = reach[-1] or []
        return found if len(found) <= 5 and max(map(len, found), default=0) >= 4 else []

    def _correct(self, chunk: str) -> str:
        """The word of the lexicon that a reader may have misread as `chunk`, else `chunk`."""
        if chunk in self._vocabulary or len(chunk) < 4:
            return chunk
        known = self._corrections.get(chunk)
        if known is None:
            known = self._guess(chunk) or chunk
            if len(self._corrections) > 20_000:
                self._corrections.clear()
            self._corrections[chunk] = known
        return known

    def _guess(self, chunk: str) -> str | None:
        digits = sum(char.isdigit() for char in chunk)
        if digits * 2 > len(chunk):
            return None
        key = confusion_key(chunk)
        if key in self._keys:
            return self._keys[key]
        if len(chunk) < _SHORTEST_GUESS:
            return None
        for near in (key, *_deletions(key)):
            for word in self._neighbours.get(near, ()):
                other = confusion_key(word)
                if one_edit_apart(key, other) and _plausible(key, other):
                    return word
        return None

    def _join_broken(self, parts: list[str]) -> None:
        """Undo a space inside a word (`rour ding`): the first part takes it all, the second becomes empty."""
        for i in range(len(parts) - 1):
            a, b = parts[i], parts[i + 1]
            whole = a + b
            if not a or not b or not 5 <= len(whole) <= 24 or a.isdigit() or b.isdigit():
                continue
            if whole in self._vocabulary and len(whole) > 6 and not (a in self._vocabulary and b in self._vocabulary):
                parts[i], parts[i + 1] = whole, ""
                continue
            if len(whole) > 14:
                continue
            if (a in self._vocabulary and len(a) > 3) or (b in self._vocabulary and len(b) > 3):
                continue
            if (a in self._vocabulary and b in self._vocabulary) or whole.isdigit():
                continue
            word = whole if whole in self._vocabulary else self._guess(whole)
            if word is not None and len(word) >= _SHORTEST_GUESS:
                parts[i], parts[i + 1] = word, ""


def _plausible(read: str, word: str) -> bool:
    """Short words need more than nearness: `summer` is not `summe`, and the first letter is rarely misread."""
    if len(word) >= 7:
        return True
    if len(read) > len(word):
        return False
    return read[0] == word[0] or len(read) < len(word) or len(word) == 6


def _deletions(key: str) -> Iterable[str]:
    return (key[:i] + key[i + 1 :] for i in range(len(key)))
