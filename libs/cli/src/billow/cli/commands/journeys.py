"""The way of a document through the stages, put together from its events."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from billow.schemas.events import (
    EVENT_NAMES,
    Analyzed,
    Completed,
    DocumentEvent,
    Erased,
    Failed,
    Recognized,
    Submitted,
)

_STAGES = {"recognized": "ocr", "analyzed": "layout", "outcome": "receipt"}
"""What is known at the end of a stage -> the stage."""
_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "erased": "dim"}


class Journey(msgspec.Struct):
    """One document, its newest revision."""

    document_id: str
    revision: int = 0
    source: str = ""
    status: str = ""
    """How it ended; empty while it is on its way."""
    why: str = ""
    """Code of the error."""
    times: dict[str, datetime] = {}
    """`submitted`, `recognized`, `analyzed`, `outcome` -> when."""

    def take(self, event: DocumentEvent) -> None:
        """Move on by an event; one of an older revision changes nothing."""
        if event.revision < self.revision:
            return
        if event.revision > self.revision:
            self.revision, self.status, self.why, self.times = event.revision, "", "", {}
        match event:
            case Submitted():
                self.source = event.source
                self.times["submitted"] = event.occurred_at
            case Recognized() | Analyzed():
                self.source = event.origin.source
                self.times.setdefault("submitted", event.origin.submitted_at)
                self.times[EVENT_NAMES[type(event)]] = event.occurred_at
            case Completed() | Failed():
                self.source, self.status = event.record.source, event.record.status
                self.why = event.record.error.code if event.record.error else ""
                self.times.setdefault("outcome", event.occurred_at)
            case Erased():
                self.status = "erased"
                self.times.setdefault("outcome", event.occurred_at)
            case _:
                pass

    @property
    def stage(self) -> str:
        """Where it is now; empty once it has ended."""
        if self.status:
            return ""
        return next(stage for end, stage in _STAGES.items() if end not in self.times)

    def seconds(self, now: datetime) -> dict[str, float]:
        """Stage -> how long it took, or takes already; with `total`. What is not known is absent."""
        found: dict[str, float] = {}
        before = first = self.times.get("submitted")
        for end, stage in _STAGES.items():
            at = self.times.get(end) or (now if stage == self.stage else None)
            if at is not None and before is not None:
                found[stage] = max(0.0, (at - before).total_seconds())
            before = self.times.get(end, before if end != "outcome" else None)
        if first is not None:
            found["total"] = max(0.0, (self.times.get("outcome", now) - first).total_seconds())
        return found

    def row(self, now: datetime) -> dict[str, Any]:
        """For programs: where it is and how long that took."""
        return {
            "document_id": self.document_id,
            "revision": self.revision,
            "source": self.source,
            "status": self.status or "on_its_way",
            "stage": self.stage or None,
            "error": self.why or None,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds(now).items()},
        }


def table(journeys: Iterable[Journey], *, tenant: str) -> Table:
    """A line a document; the stage where it is now is marked."""
    now = datetime.now(UTC)
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.add_column("document", no_wrap=True)
    grid.add_column("source", overflow="ellipsis", no_wrap=True)
    for name in (*_STAGES.values(), "total"):
        grid.add_column(f"{name} s", justify="right", no_wrap=True)
    grid.add_column("now", no_wrap=True)
    for journey in journeys:
        seconds = journey.seconds(now)
        cells = [
            Text(f"{seconds[name]:.1f}" if name in seconds else "", style="bold" if name == journey.stage else "")
            for name in (*_STAGES.values(), "total")
        ]
        where = " ".join(filter(None, (journey.status, journey.why))) or f"in {journey.stage} …"
        name = journey.document_id + (f" r{journey.revision}" if journey.revision > 1 else "")
        grid.add_row(Text(name), Text(journey.source), *cells, Text(where, style=_STYLES.get(journey.status, "cyan")))
    if not grid.row_count:
        grid.caption = f"Nothing moves in tenant {tenant!r}."
    return grid
