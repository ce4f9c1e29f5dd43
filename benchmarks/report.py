"""From runs to numbers, and from numbers to tables. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.datasets import Document
from benchmarks.extraction import Answer, Extraction
from benchmarks.peer import PeerRun
from benchmarks.scoring import TEXT_FIELDS, Overlap, Verdict, overlap, score_field, word_bag
from benchmarks.tables import table


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of the two did."""

    name: str
    completed: int
    documents: int
    words: Overlap | None
    """Over the documents that both were given and whose text is known; None if there are none."""
    running_s: float | None
    """seconds a document while it runs; None if it cannot be told"""
    wall_s: float
    """seconds a document, start and stop included"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Something that has to be reached."""

    name: str
    value: float | None
    """None if nothing was there to measure, which counts as missed."""
    least: float

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        # The difference of two shares carries float dust; a bar met to 1e-9 is met.
        return self.value is not None and self.value >= self.least - 1e-9


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was measured."""

    ours: Side
    peer: Side | None
    verdicts: tuple[Verdict, ...]
    """Every field asked for of every document whose truth has it."""
    fields: tuple[str, ...]

    @property
    def completed_share(self) -> float:
        """0..1"""
        return self.ours.completed / self.ours.documents

    @property
    def f1_difference(self) -> float | None:
        """Our word F1 less the peer's."""
        if self.peer is None or self.ours.words is None or self.peer.words is None:
            return None
        return self.ours.words.f1 - self.peer.words.f1

    def of(self, field: str) -> list[Verdict]:
        """The verdicts on one field."""
        return [verdict for verdict in self.verdicts if verdict.field == field]

    def share_of(self, field: str) -> float | None:
        """Mean score of a field over the documents that have it; None if none has."""
        verdicts = self.of(field)
        return sum(verdict.score for verdict in verdicts) / len(verdicts) if verdicts else None


def make_report(
    documents: Sequence[Document],
    ours: Extraction,
    peer: tuple[Sequence[Document], PeerRun] | None,
    fields: Sequence[str],
) -> Report:
    """Score one run of ours over `documents` and one of the peer over a part of them."""
    compared = documents if peer is None else peer[0]
    texts = {document.id: answer.text_lines for document, answer in zip(documents, ours.answers, strict=True)}
    our_side = Side(
        name="billow",
        completed=sum(answer.status == "completed" for answer in ours.answers),
        documents=len(documents),
        words=_words(compared, [texts[document.id] for document in compared]),
        running_s=ours.running_s_per_document,
        wall_s=ours.wall_s / len(documents),
    )
    verdicts = tuple(
        verdict
        for document, answer in zip(documents, ours.answers, strict=True)
        for verdict in _verdicts(document, answer, fields)
    )
    return Report(
        ours=our_side, peer=None if peer is None else _peer_side(*peer), verdicts=verdicts, fields=tuple(fields)
    )


def _peer_side(documents: Sequence[Document], run: PeerRun) -> Side:
    return Side(
        name=f"RapidOCR {run.version}",
        completed=sum(reading.lines is not None for reading in run.readings),
        documents=len(documents),
        words=_words(documents, [reading.lines or [] for reading in run.readings]),
        running_s=run.running_s_per_document,
        wall_s=run.wall_s / len(documents),
    )


def _words(documents: Iterable[Document], texts: Iterable[Sequence[str]]) -> Overlap | None:
    parts = [
        overlap(word_bag(text), word_bag(document.lines))
        for document, text in zip(documents, texts, strict=True)
        if document.lines is not None
    ]
    return sum(parts, Overlap()) if parts else None


def _verdicts(document: Document, answer: Answer, fields: Iterable[str]) -> list[Verdict]:
    """One for each field that the truth has; a failed document has no fields."""
    verdicts: list[Verdict] = []
    for field in fields:
        accepted = document.accepted.get(field)
        if accepted:
            value = answer.fields.get(field)
            read = None if value is None else value.value
            truth = " | ".join(sorted(accepted))
            score = score_field(field, accepted, read)
            verdicts.append(Verdict(document=document.id, field=field, truth=truth, read=read, score=score))
    return verdicts


def report_tables(report: Report, *, markdown: bool = False) -> str:
    """Both tables, ready to print."""
    ours, peer = report.ours, report.peer
    rows = [["completed", f"{ours.completed} of {ours.documents}"]]
    rows.append(["word F1", _number(ours.words.f1 if ours.words else None, 4)])
    rows.append(["s a document, running", _number(ours.running_s, 2)])
    rows.append(["s a document, start and stop included", _number(ours.wall_s, 2)])
    headers = ["", ours.name]
    if peer is not None:
        headers += [peer.name, "difference"]
        rows[0] += [f"{peer.completed} of {peer.documents}", ""]
        rows[1] += [_number(peer.words.f1 if peer.words else None, 4), _number(report.f1_difference, 4, sign=True)]
        rows[2] += [_number(peer.running_s, 2), _ratio(ours.running_s, peer.running_s)]
        rows[3] += [_number(peer.wall_s, 2), _ratio(ours.wall_s, peer.wall_s)]
    parts = [table(headers, rows, markdown=markdown)]
    if report.fields:
        parts.append(
            table(["field", "right", "of", "share"], [_field_row(report, f) for f in report.fields], markdown=markdown)
        )
    return "\n\n".join(parts)


def _field_row(report: Report, field: str) -> list[str]:
    verdicts = report.of(field)
    share = report.share_of(field)
    name = f"{field} (word F1)" if field in TEXT_FIELDS else field
    right = sum(verdict.score == 1 for verdict in verdicts)
    return [name, str(right), str(len(verdicts)), "-" if share is None else f"{100 * share:.1f} %"]


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _ratio(ours: float | None, peers: float | None) -> str:
    return "-" if not ours or not peers else f"x {ours / peers:.2f}"


def miss_lines(report: Report) -> list[str]:
    """One line for each field that is not fully right, the documents in order."""
    return [
        f"{verdict.document}  {verdict.field}: {verdict.read or 'not found'}  (truth: {verdict.truth})"
        for verdict in report.verdicts
        if verdict.score < 1
    ]


def bar_lines(bars: Iterable[Bar]) -> list[str]:
    """One line a bar."""
    return [
        f"{'met   ' if bar.met else 'MISSED'} {bar.name}: {_number(bar.value, 4)}, at least {bar.least:.4f}"
        for bar in bars
    ]
