"""Labelled words into entities, line items and rows of the tax table."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from billow.runtime.errors import PermanentError
from billow.schemas.events import Entity, Group
from billow.schemas.geometry import Quad, Region, Word
from billow.schemas.inference import Classifications
from billow.schemas.labels import NO_LABEL, WORD_LABELS

MULTI_LINE: frozenset[str] = frozenset({"store_name", "store_address", "buyer_name", "buyer_address"})
"""Fields that may run over several printed lines and are still one entity."""

_EDGES = " \t:;=*|"


class Assembly(NamedTuple):
    """What the words of a document add up to; unpacks as `entities, items, taxes`."""

    entities: tuple[Entity, ...]
    items: tuple[Group, ...]
    taxes: tuple[Group, ...]


class _Labelled(NamedTuple):
    word: Word
    label: str
    score: float
    group: int


def assemble(words: Sequence[Word], classifications: Classifications) -> Assembly:
    """Merge the words of one label (and group) into entities, in reading order.

    Neighbouring words on one printed line become one entity; a field of `MULTI_LINE` and any key of a group is one
    entity over all its lines, joined by a space. Words that touch in their line are joined without a space. A region
    is one quad a line. The confidence is the least of label score times word confidence over the words: an entity is
    as sure as its least sure word, since one wrong digit spoils an amount. A document with one row in its tax table
    and no word labelled `tax` takes that row's amount as its tax.

    Raises:
        PermanentError: `invalid_output`: not one known label, score and group for each word.
    """
    _check(words, classifications)
    labelled = [
        _Labelled(word, label, score, group)
        for word, label, score, group in zip(
            words, classifications.labels, classifications.scores, classifications.groups, strict=True
        )
        if label != NO_LABEL
    ]
    entities = [_entity(run) for run in _runs(labelled)]
    items = _groups(labelled, "item.")
    taxes = _groups(labelled, "tax.")
    if len(taxes) == 1 and not any(entity.label == "tax" for entity in entities):
        entities.extend(_as_tax(entity) for entity in taxes[0].entities if entity.label == "tax.amount")
    return Assembly(tuple(entities), items, taxes)


def _check(words: Sequence[Word], classifications: Classifications) -> None:
    lengths = {len(classifications.labels), len(classifications.scores), len(classifications.groups)}
    if lengths != {len(words)}:
        raise PermanentError(
            f"the layout model answered {sorted(lengths)} labels, scores or groups for {len(words)} words;"
            " use another model for token-classification",
            code="invalid_output",
        )
    if unknown := set(classifications.labels).difference(WORD_LABELS):
        raise PermanentError(
            f"the layout model answered with unknown labels {sorted(unknown)};"
            " use another model for token-classification",
            code="invalid_output",
        )


def _as_tax(entity: Entity) -> Entity:
    return Entity(label="tax", text=entity.text, confidence=entity.confidence, regions=entity.regions)


def _groups(labelled: Iterable[_Labelled], prefix: str) -> tuple[Group, ...]:
    """One `Group` a number, ordered by its first word; words of a key that have no number are dropped."""
    keys: dict[int, dict[str, list[_Labelled]]] = {}
    for each in labelled:
        if each.group >= 0 and each.label.startswith(prefix):
            keys.setdefault(each.group, {}).setdefault(each.label, []).append(each)
    return tuple(Group(entities=tuple(_entity(run) for run in group.values())) for group in keys.values())


def _runs(labelled: Iterable[_Labelled]) -> list[list[_Labelled]]:
    """Words of one field that belong together, in reading order of their first."""
    runs: list[list[_Labelled]] = []
    whole: dict[tuple[str, int], list[_Labelled]] = {}
    for each in labelled:
        if "." in each.label:
            continue
        if each.label in MULTI_LINE:
            run = whole.get((each.label, each.word.page))
        else:
            run = next((r for r in reversed(runs) if r[-1].label == each.label and _continues(r[-1], each)), None)
        if run is None:
            run = list[_Labelled]()
            runs.append(run)
            whole[(each.label, each.word.page)] = run
        run.append(each)
    return runs


def _continues(last: _Labelled, each: _Labelled) -> bool:
    """Whether a word stands in the same printed line as the one before, with not more than a column gap between."""
    a, b = last.word, each.word
    if a.page != b.page or last.group != each.group:
        return False
    height = max(min(_height(a.quad), _height(b.quad)), 1e-6)
    along, across = _offset(a.quad, b.quad)
    near = -0.5 * height <= along <= 3 * height
    return near and abs(across) <= 0.5 * height


def _offset(a: Quad, b: Quad) -> tuple[float, float]:
    """From the end of `a` to the start of `b`: along the direction of `a`, and across it, px."""
    (ax, ay), (bx, by) = _middle(a, 1), _middle(b, 0)
    dx, dy = a[2] - a[0], a[3] - a[1]
    length = math.hypot(dx, dy) or 1.0
    ux, uy = dx / length, dy / length
    return (bx - ax) * ux + (by - ay) * uy, (by - ay) * ux - (bx - ax) * uy


def _middle(quad: Quad, end: int) -> tuple[float, float]:
    """The middle of the left (0) or right (1) edge."""
    x1, y1, x2, y2, x3, y3, x4, y4 = quad
    return ((x2 + x3) / 2, (y2 + y3) / 2) if end else ((x1 + x4) / 2, (y1 + y4) / 2)


def _height(quad: Quad) -> float:
    return (math.hypot(quad[6] - quad[0], quad[7] - quad[1]) + math.hypot(quad[4] - quad[2], quad[5] - quad[3])) / 2


def _entity(run: Sequence[_Labelled]) -> Entity:
    lines: dict[tuple[int, int], list[Word]] = {}
    for each in run:
        lines.setdefault((each.word.page, each.word.line), []).append(each.word)
    return Entity(
        label=run[0].label,
        text=_trim(" ".join(_join(words) for words in lines.values())),
        confidence=min(max(min(each.score * each.word.confidence for each in run), 0.0), 1.0),
        regions=tuple(Region(page=page, quad=quad) for (page, _), words in lines.items() for quad in _merge(words)),
    )


def _join(words: Sequence[Word]) -> str:
    """The words of one line as they stood in it."""
    text = words[0].text
    for last, word in itertools.pairwise(words):
        gap, _ = _offset(last.quad, word.quad)
        width = math.hypot(word.quad[2] - word.quad[0], word.quad[3] - word.quad[1]) / max(len(word.text), 1)
        text += word.text if gap < 0.5 * width else f" {word.text}"
    return text


def _trim(text: str) -> str:
    """Without the punctuation that belongs to the layout and not to the value, unless nothing else is there."""
    trimmed = text.strip(_EDGES).rstrip(",")
    if trimmed.endswith(".") and trimmed[-2:-1].isdigit():
        trimmed = trimmed[:-1]
    if trimmed.endswith(")") and "(" not in trimmed:
        trimmed = trimmed.rstrip(") ")
    if trimmed.startswith("(") and ")" not in trimmed:
        trimmed = trimmed.lstrip("( ")
    return trimmed or text


def _merge(words: Sequence[Word]) -> list[Quad]:
    """One quad a run of words without a hole in it; a hole is another entity's."""
    quads: list[Quad] = []
    last: Word | None = None
    for word in words:
        gap = _offset(last.quad, word.quad)[0] if last else 0.0
        if last is not None and gap <= 3 * max(_height(last.quad), 1e-6):
            a, b = quads[-1], word.quad
            quads[-1] = (*a[:2], *b[2:6], *a[6:])
        else:
            quads.append(word.quad)
        last = word
    return quads
