"""What the stream tells about records, in its order and without a gap."""

from billow.bus.connection import Bus
from billow.bus.history import PAGE, History, Stored
from billow.bus.publish import publish_event
from billow.bus.window import stream_window
from billow.services.receipt.chronicle import chronicle
from billow.testkit.events import make_completed, make_recognized, make_submitted


class Behind(History):
    """As a replica answers that learns of the last messages a moment later."""

    looks = 6

    async def page(self, subject: str, *, start: int = 1, limit: int = PAGE, **options: object) -> list[Stored]:
        self.looks -= 1
        return [] if self.looks >= 0 else await super().page(subject, start=start, limit=limit)


async def told(history: History, last: int, after: int = 0) -> list[int]:
    pages = [page async for page in chronicle(history, after=after, last=last)]
    return [stored.sequence for page in pages for stored in page]


async def test_no_outcome_is_passed_over_where_who_answers_is_behind(bus: Bus) -> None:
    events = (make_submitted(), make_recognized(), make_completed(), make_completed("doc-2"))
    places = [await publish_event(bus, event) for event in events]
    last = (await stream_window(bus)).last
    # A text says nothing about a record.
    wanted = [places[0], *places[2:]]
    assert await told(Behind(bus), last) == wanted
    assert await told(Behind(bus), last, after=places[2]) == places[3:]
    assert await told(Behind(bus), last, after=last) == []
