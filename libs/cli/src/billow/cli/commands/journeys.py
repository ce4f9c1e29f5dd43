"""The way of a document through the stages, put together from its events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from billow.cli.columns import fitting
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
_SECONDS = (*(f"{stage} s" for stage in _STAGES.values()), "total s")
_COLUMNS = ("document", "source", *_SECONDS, "now")
_DROPPABLE = ("layout s", "receipt s", "ocr s", "total s")
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


def table(journeys: Sequence[Journey], *, tenant: str, width: int) -> Table:
    """A line a document, at most `width` characters; the stage where it is now is marked.

    Ids and where a document is stay whole, the end of a long source is shown, and stages are left out where there is
    no room for them.
    """
    now = datetime.now(UTC)
    columns = {name: [_cell(journey, name, now) for journey in journeys] for name in _COLUMNS}
    shown = fitting(columns, width=width, elastic="source", least=16, droppable=_DROPPABLE)
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, room in shown.items():
        side: JustifyMethod = "right" if name in _SECONDS else "left"
        grid.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", width=room)
    for index, journey in enumerate(journeys):
        styles = {"now": _STYLES.get(journey.status, "cyan"), f"{journey.stage} s": "bold"}
        grid.add_row(
            *(Text(_tail(columns[name][index], room), style=styles.get(name, "")) for name, room in shown.items())
        )
    if not grid.row_count:
        grid.caption = f"Nothing moves in tenant {tenant!r}."
    return grid


def _cell(journey: Journey, column: str, now: datetime) -> str:
    match column:
        case "document":
            return journey.document_id + (f" r{journey.revision}" if journey.revision > 1 else "")
        case "source":
            return journey.source
        case "now":
            return " ".join(filter(None, (journey.status, journey.why))) or f"in {journey.stage} …"
        case _:
            seconds = journey.seconds(now).get(column.removesuffix(" s"))
            return "" if seconds is None else f"{seconds:.1f}"


def _tail(text: str, room: int) -> str:
    """The end of a path tells more than its beginning."""
    return text if len(text) <= room else f"…{text[len(text) - room + 1 :]}"
