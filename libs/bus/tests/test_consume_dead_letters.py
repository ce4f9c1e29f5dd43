# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""What a dead letter holds, on a real server."""

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.embedded import EmbeddedServer
from billow.bus.topology import DEADLETTERS
from billow.runtime.errors import PermanentError
from billow.schemas.events import Submitted
from billow.testkit.consuming import consuming, dead_letters, until
from billow.testkit.malformed import Message, send


async def test_a_dead_letter_leaves_out_headers_that_the_server_would_obey_or_refuse(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async def handler(_: Delivery) -> None:
        raise PermanentError("Cà phê 50 ₫ is no date.", code="bad")

    head = b"NATS/1.0\r\nBad(Name): 1\r\nX-Kept: yes\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"
    names = (b"doc-1", b"doc-2")
    messages = [Message(b"documents.default.submitted." + name, head, b"{}") for name in names]
    await send(embedded_server.port, messages)
    async with consuming(bus, handler):
        await until(lambda: buried(bus, 2))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted", direct=True)
    fields = letter.headers or {}
    assert fields["X-Kept"] == "yes"
    assert fields[headers.DEAD_MESSAGE] == "Cà phê 50 ₫ is no date."


async def buried(bus: Bus, count: int) -> bool:
    return await dead_letters(bus) == count


async def test_a_dead_letter_of_the_largest_size_leaves_room_for_its_reason(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async def handler(delivery: Delivery) -> None:
        delivery.event(Submitted)

    size = bus.client.max_payload - 10
    await bus.js.publish("documents.default.submitted.doc-1", b"x" * size)
    async with consuming(bus, handler):
        await until(lambda: buried(bus, 1))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert size - 4096 < len(letter.data or b"") < size
    assert (letter.headers or {})[headers.DEAD_SIZE] == str(size)
