"""One key of the caller is one document, from wherever and however often it is handed in."""

import asyncio

import pytest

from billow.bus.connection import Bus
from billow.bus.history import History
from billow.bus.images import ImageStore
from billow.bus.publish import latest_event
from billow.client import Billow, document_id_of
from billow.runtime.errors import PermanentError
from billow.schemas.events import Submitted
from billow.schemas.tokens import is_token
from billow.testkit.plugin import NatsServer

KEY = "Order №17 / lunch.jpg"


async def submissions(bus: Bus, document_id: str) -> int:
    return len(await History(bus).page(f"documents.*.submitted.{document_id}"))


async def test_the_same_key_is_one_document_also_after_the_server_forgot_it(
    billow: Billow, bus: Bus, nats_server: NatsServer
) -> None:
    first = await billow.submit(b"photo", idempotency_key=KEY)
    assert is_token(first)
    # The server drops repeats only for as long as it remembers.
    info = await bus.js.stream_info("DOCUMENTS")
    info.config.duplicate_window = 0.1
    await bus.js.update_stream(info.config)  # pyright: ignore[reportUnknownMemberType]
    await asyncio.sleep(0.3)
    async with Billow(nats_server.url) as other:
        assert await other.submit(b"photo", idempotency_key=KEY) == first
    assert await submissions(bus, first) == 1


async def test_other_bytes_under_the_same_key_are_refused_and_spoil_nothing(billow: Billow, bus: Bus) -> None:
    document_id = await billow.submit(b"photo", idempotency_key=KEY)
    with pytest.raises(PermanentError, match="other content") as caught:
        await billow.submit(b"another photo", idempotency_key=KEY)
    assert caught.value.code == "document_exists"
    event = await latest_event(bus, Submitted, "default", document_id)
    assert event is not None
    assert await ImageStore(bus.client).get("default", event.image.key, sha256=event.image.sha256) == b"photo"


async def test_of_two_that_differ_at_the_same_time_one_is_accepted(
    billow: Billow, bus: Bus, nats_server: NatsServer
) -> None:
    async with Billow(nats_server.url) as other:
        for number in range(10):
            key = f"{KEY} {number}"
            outcomes = await asyncio.gather(
                billow.submit(b"photo", idempotency_key=key),
                other.submit(b"another photo", idempotency_key=key),
                return_exceptions=True,
            )
            refused = [outcome for outcome in outcomes if isinstance(outcome, PermanentError)]
            assert [error.code for error in refused] == ["document_exists"]
            event = await latest_event(bus, Submitted, "default", document_id_of("default", key))
            assert event is not None
            accepted = b"photo" if isinstance(outcomes[0], str) else b"another photo"
            assert await ImageStore(bus.client).get("default", event.image.key, sha256=event.image.sha256) == accepted


async def test_a_key_belongs_to_its_tenant(billow: Billow, nats_server: NatsServer) -> None:
    async with Billow(nats_server.url, tenant="other") as other:
        assert await billow.submit(b"photo", idempotency_key=KEY) != await other.submit(b"x", idempotency_key=KEY)


async def test_a_new_revision_may_have_other_bytes(billow: Billow, bus: Bus) -> None:
    first = await billow.submit(b"photo", idempotency_key=KEY)
    assert await billow.submit(b"better photo", idempotency_key=KEY, revision=2) == first
    assert await submissions(bus, first) == 2


async def test_a_key_and_an_id_are_too_much_and_an_empty_key_too_little(billow: Billow) -> None:
    with pytest.raises(ValueError, match="either"):
        await billow.submit(b"photo", idempotency_key=KEY, document_id="doc-1")
    with pytest.raises(ValueError, match="empty"):
        await billow.submit(b"photo", idempotency_key="")
