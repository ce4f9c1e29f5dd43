# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""A pull session on a real server does not go deaf."""

import asyncio

from nats.js.errors import NotFoundError

from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import ensure_stream
from billow.bus.publish import publish_event
from billow.bus.topology import DOCUMENTS
from billow.testkit.consuming import consuming, until
from billow.testkit.events import make_submitted


async def test_a_restarted_server_finds_its_consumer_listening(bus: Bus, embedded_server: EmbeddedServer) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)
        await embedded_server.kill()
        await embedded_server.restart()
        await publish_event(bus, make_submitted("doc-2"))
        await until(lambda: "documents.default.submitted.doc-2" in seen)


async def test_a_deleted_consumer_is_made_again(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await bus.js.delete_consumer("DOCUMENTS", "ocr")
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)


async def test_a_stream_that_is_gone_is_made_again_and_listened_to(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await bus.js.delete_stream(DOCUMENTS.name)
        await ensure_stream(bus, DOCUMENTS)
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)


async def test_a_consumer_that_is_deleted_while_all_slots_are_taken_is_made_again(bus: Bus) -> None:
    seen: list[str] = []
    go_on = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)
        await go_on.wait()

    async with consuming(bus, handler, concurrency=1):
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)
        await bus.js.delete_consumer("DOCUMENTS", "ocr")
        await until(lambda: exists(bus))
        await publish_event(bus, make_submitted("doc-2"))
        go_on.set()
        await until(lambda: "documents.default.submitted.doc-2" in seen)


async def exists(bus: Bus) -> bool:
    try:
        await bus.js.consumer_info("DOCUMENTS", "ocr")
    except NotFoundError:
        return False
    return True


async def test_a_restarted_server_is_looked_at_again_by_who_has_no_slot_left(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    begun: list[str] = []
    go_on = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.subject.split(".")[1])
        await go_on.wait()

    async with consuming(bus, handler, concurrency=1):
        await publish_event(bus, make_submitted("doc-1", tenant="a"))
        await until(lambda: begun == ["a"])
        await embedded_server.kill()
        await embedded_server.restart()
        await publish_event(bus, make_submitted("doc-2", tenant="b"))
        # It gets the slot beyond the others, so it was seen.
        await until(lambda: "b" in begun)
        go_on.set()
