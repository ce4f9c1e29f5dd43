"""Our whole system and RapidOCR on the same pictures in one run, in turns, so that both see the same machine."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.datasets import Document
from benchmarks.extraction import Answer, RunError, extract
from benchmarks.peer import PeerEngine, run_peer
from benchmarks.scoring import Overlap, overlap, word_bag

_WARM_UP = 3
"""Pictures that each process of the peer reads before the clock runs, as our stack does too."""


@dataclass
class Tally:
    """What one side did over all rounds."""

    name: str
    documents: int = 0
    unread: int = 0
    """Documents that failed or were refused."""
    seconds: float = 0.0
    """Wall time over all documents: ours from the first submission to the last record, the peer's in its calls."""
    latencies: list[float] = field(default_factory=list[float])
    """seconds from handing in to the result, one document at a time"""
    words: Overlap = field(default_factory=Overlap)

    @property
    def s_per_document(self) -> float:
        """Seconds a document."""
        return self.seconds / self.documents

    @property
    def latency(self) -> float | None:
        """Median seconds of one document alone; None if that was not measured."""
        return median(self.latencies) if self.latencies else None

    def score(self, document: Document, text: Sequence[str] | None) -> None:
        """Count one document; None for a side that gave nothing."""
        self.documents += 1
        self.unread += text is None
        if document.lines is not None:
            self.words += overlap(word_bag(text or ()), word_bag(document.lines))


def rounds_of(documents: Sequence[Document], rounds: int) -> list[list[Document]]:
    """The documents dealt into so many rounds, none of them empty."""
    return [part for part in (list(documents[first::rounds]) for first in range(rounds)) if part]


def run_ours(
    tally: Tally, documents: Sequence[Document], *, command: Sequence[str], nats_url: str | None, jobs: int
) -> tuple[Answer, ...]:
    """All documents through a running stack, `jobs` at a time. Raises RunError."""
    run = extract(
        [document.path for document in documents],
        command=command,
        options=["--with-text", "--jobs", str(jobs)],
        nats_url=nats_url,
    )
    if run.running_s is None:
        raise RunError("The first record has no `total` in timings_ms, so the run cannot be timed.")
    tally.seconds += run.running_s
    for document, answer in zip(documents, run.answers, strict=True):
        tally.score(document, answer.text_lines if answer.status == "completed" else None)
    return run.answers


def run_alone(tally: Tally, documents: Sequence[Document], *, command: Sequence[str], nats_url: str | None) -> None:
    """Time documents one at a time; their texts were scored before. Raises RunError."""
    run = extract(
        [document.path for document in documents], command=command, options=["--jobs", "1"], nats_url=nats_url
    )
    tally.latencies += [answer.timings_ms["total"] / 1000 for answer in run.answers if "total" in answer.timings_ms]


def run_theirs(
    tally: Tally, documents: Sequence[Document], engine: PeerEngine, *, command: Sequence[str] | None = None
) -> None:
    """All documents through RapidOCR, one after the other, as it works. Raises RunError."""
    paths = [document.path for document in documents]
    run = run_peer(paths, engine=engine, warm_up=_WARM_UP, command=command)
    for document, reading in zip(documents, run.readings, strict=True):
        tally.seconds += reading.seconds
        tally.latencies.append(reading.seconds)
        tally.score(document, reading.lines)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
