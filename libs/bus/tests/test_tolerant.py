# pyright: reportUnknownMemberType=false, reportPrivateUsage=false
"""What anybody may publish never makes a connection deaf, on a real server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import letters
from billow.bus.delivery import Delivery
from billow.bus.embedded import EmbeddedServer
from billow.bus.tolerant import TolerantClient
from billow.bus.topology import DOCUMENTS
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.malformed import Message, send

SUBJECT = b"documents.default.submitted.bad"
GOOD = Message(b"documents.default.submitted.good", b"NATS/1.0\r\nX: 1\r\n\r\n", b"{}")


@pytest.mark.parametrize(
    ("subject", "head"),
    [
        (SUBJECT, b"ab"),
        (SUBJECT, b"NATS/1.0"),
        (SUBJECT, b"NATS/1.0 \xff\xfe\xfd\r\n\r\n"),
        (SUBJECT, b"NATS/1.0 503 No Responders\r\n\r\n"),
        (SUBJECT, b"NATS/1.0\r\nStatus: 404\r\n\r\n"),
        (b"documents.\xff\xfe.submitted.bad", None),
        (b"documents.a\x0b\x0cb.submitted.bad", None),
        (b"documents.a\x0b\x0cb.submitted.bad", b"NATS/1.0\r\nX: 1\r\n\r\n"),
    ],
)
async def test_a_message_that_the_stock_client_dies_of_is_handled_as_any_other(
    bus: Bus, embedded_server: EmbeddedServer, subject: bytes, head: bytes | None
) -> None:
    handled: list[dict[str, str]] = []

    async def handler(delivery: Delivery) -> None:
        handled.append(dict(delivery.headers))

    await send(embedded_server.port, [Message(subject, head, b"{}"), GOOD])
    async with consuming(bus, handler, concurrency=1, lookahead=0):
        await until(lambda: settled(bus))
    assert len(handled) == 2
    assert handled[1] == {"X": "1"}
    assert "Status" not in handled[0], "no word of the server"
    stored = await bus.js.get_msg(DOCUMENTS.name, seq=1, direct=True)
    assert stored.data == b"{}"


async def test_a_status_among_the_dead_letters_does_not_hide_the_others(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    head = b"NATS/1.0 503\r\n\r\n"
    await send(embedded_server.port, [Message(b"deadletters.default.ocr.submitted", head, b"")])
    await bus.js.publish("deadletters.default.ocr.submitted", b"x", headers={headers.DEAD_CODE: "bad"})
    async with asyncio.timeout(60):
        assert [letter.code async for letter in letters(bus)] == ["bad", "unknown"]


async def test_headers_as_large_as_the_server_takes_leave_room_for_the_reason(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async def handler(_: Delivery) -> None:
        raise OverflowError("too large")

    await send(embedded_server.port, [Message(SUBJECT, b"NATS/1.0\r\nX: " + b"y" * 64_000 + b"\r\n\r\n", b"{}")])
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    (letter,) = [letter async for letter in letters(bus)]
    assert (letter.code, letter.document_id, letter.deliveries) == ("value_out_of_range", "bad", 1)


_PART = st.one_of(
    st.sampled_from(
        [b"\r\n", b":", b": ", b"Content-Type", b"Nats-Msg-Id", b" ", b"\t", b"\x0b", b"\x1c", b"\r", b"\xc3\xa9"]
    ),
    st.binary(max_size=6),
)


@given(st.lists(_PART, max_size=30).map(b"".join))
def test_headers_are_read_as_the_stock_client_reads_them(raw: bytes) -> None:
    expected = Client._parse_header_lines(raw)
    assert list(TolerantClient._parse_header_lines(raw).items()) == list(expected.items())
    assert TolerantClient._parse_header_lines(bytearray(raw)) == expected
