# pyright: reportUnknownMemberType=false
"""Reading where who answers is behind: a replica that learns of the last messages a moment later."""

import pytest

from billow.bus import publish as publishing
from billow.bus.connection import Bus
from billow.bus.history import PAGE, History, Stored
from billow.bus.publish import publish_event
from billow.bus.replicas import first_from
from billow.bus.topology import DOCUMENTS
from billow.testkit.events import make_submitted


class Behind(History):
    """Has nothing yet at the first looks."""

    looks = 3

    async def page(self, subject: str, *, start: int = 1, limit: int = PAGE, **options: object) -> list[Stored]:
        self.looks -= 1
        return [] if self.looks >= 0 else await super().page(subject, start=start, limit=limit)


async def test_the_first_message_from_a_place_on_is_waited_for(bus: Bus) -> None:
    places = [await publish_event(bus, make_submitted(f"doc-{number}")) for number in range(4)]
    assert await first_from(Behind(bus), places[1], patience=30) == places[1]
    await bus.js.purge_stream(DOCUMENTS.name, subject="documents.*.*.doc-1")
    assert await first_from(Behind(bus), places[1], patience=30) == places[2]
    assert await first_from(History(bus), places[3] + 1, patience=0) is None


async def test_what_is_said_again_is_stored_once_though_who_is_asked_for_it_is_behind(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_submitted("doc-1")
    first = await publish_event(bus, event)
    monkeypatch.setattr(publishing, "History", Behind)
    monkeypatch.setattr(publishing, "_BEHIND_SECONDS", 60.0)
    assert await publish_event(bus, event) == first
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == 1
