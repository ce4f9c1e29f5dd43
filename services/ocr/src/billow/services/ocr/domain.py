"""Pure parts of reading a page: which crops travel together, and what the answers add up to."""

from collections.abc import Iterable, Sequence

from billow.schemas.geometry import Quad, TextLine
from billow.schemas.inference import MAX_CROP_BYTES, MAX_CROPS


def chunks(crops: Sequence[bytes], widths: Sequence[int]) -> list[list[int]]:
    """Indices of the crops that go into one message each, sorted by width.

    A message holds at most `MAX_CROPS` crops and `MAX_CROP_BYTES` bytes, but always at least one crop. Sorting puts
    crops of like width into one batch of the model, where padding is pure waste.
    """
    result: list[list[int]] = []
    size = 0
    for index in sorted(range(len(crops)), key=lambda i: widths[i]):
        if not result or len(result[-1]) == MAX_CROPS or size + len(crops[index]) > MAX_CROP_BYTES:
            result.append([])
            size = 0
        result[-1].append(index)
        size += len(crops[index])
    return result


def lines_of_page(
    page: int, quads: Sequence[Quad], read: Iterable[tuple[int, str, float]], *, min_confidence: float
) -> list[TextLine]:
    """Lines in the order of `quads`; what the reader is less sure of than `min_confidence`, or is blank, is noise.

    Args:
        page: Index of the page.
        quads: px of the page, in reading order.
        read: (index into `quads`, text, confidence 0..1) in any order.
        min_confidence: 0..1
    """
    kept: list[tuple[int, TextLine]] = []
    for index, text, confidence in read:
        if text.strip() and confidence >= min_confidence:
            kept.append((index, TextLine(text=text.strip(), quad=quads[index], page=page, confidence=confidence)))
    return [line for _, line in sorted(kept, key=lambda pair: pair[0])]
