# pyright: reportUnknownMemberType=false, reportPrivateUsage=false
"""The client that writes seldom says the same as the stock client, and is deaf to nothing."""

import asyncio

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header
from nats.js.errors import KeyWrongLastSequenceError

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.thrifty import ThriftyClient, _Writers
from billow.testkit.consuming import until


class _Recorder(Client):
    """The stock client, which keeps what it would send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self.sent.append(bytes(cmd))


async def _heard(client: Client, subject: str) -> list[Msg]:
    found: list[Msg] = []

    async def hear(message: Msg) -> None:
        found.append(message)

    await client.subscribe(subject, cb=hear)
    await client.flush()
    return found


# The stock client itself names some by members of an enum.
NAMES = st.sampled_from(["Content-Type", "Nats-Msg-Id", "X", "traceparent", *Header]) | st.text(max_size=5)


@given(
    subject=st.text(max_size=8),
    payload=st.binary(max_size=8),
    reply=st.text(max_size=8),
    fields=st.none() | st.dictionaries(NAMES, st.text(max_size=8), max_size=3),
)
def test_what_it_sends_by_itself_is_what_the_stock_client_sends(
    subject: str, payload: bytes, reply: str, fields: dict[str, str] | None
) -> None:
    client = ThriftyClient()
    client._max_payload = 1_000
    command = client._command(subject, payload, reply, fields)
    if command is None:
        return
    expected = _Recorder()
    asyncio.run(expected._send_publish(subject, reply, payload, len(payload), fields))
    assert [command] == expected.sent


@pytest.mark.parametrize(
    ("subject", "fields"),
    [("", None), ("a b", None), ("a\r\nPUB x 0\r\n", None), ("ok", {"a b": "x"}), ("ok", {"": "x"})],
)
async def test_what_may_not_be_sent_is_left_to_the_stock_client(
    bus: Bus, subject: str, fields: dict[str, str] | None
) -> None:
    assert bus.client._command(subject, b"", "", fields) is None


async def test_a_line_break_in_a_header_ends_no_header(bus: Bus, stock: Client) -> None:
    heard = await _heard(stock, "here")
    await bus.client.publish("here", b"1", headers={"A": "x\r\nB: y", "C": " z "})
    await until(lambda: len(heard) == 1)
    assert heard[0].headers == {"A": "x  B: y", "C": "z"}


async def test_messages_leave_in_the_order_in_which_they_were_published(bus: Bus, stock: Client) -> None:
    heard = await _heard(stock, "here")
    for number in range(2_000):
        await bus.client.publish("here", b"%d" % number, headers={"N": str(number)} if number % 3 else None)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(heard) == 2_000)
    assert [int(message.data) for message in heard] == list(range(2_000))


async def test_a_message_leaves_although_the_loop_is_never_idle(bus: Bus, stock: Client) -> None:
    heard = await _heard(stock, "here")
    loop, busy = asyncio.get_running_loop(), True

    def again() -> None:
        if busy:
            loop.call_soon(again)

    again()
    await bus.client.publish("here", b"1")
    try:
        await until(lambda: len(heard) == 1)
    finally:
        busy = False


async def test_two_clients_of_one_loop_do_not_wait_for_each_other(
    bus: Bus, stock: Client, embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, look = 0, _Writers._look

    def count(writers: _Writers, loop: asyncio.AbstractEventLoop) -> None:
        nonlocal looked
        looked += 1
        look(writers, loop)

    heard = await _heard(stock, "here")
    async with await Bus.connect(embedded_server.url, name="other") as other:
        await other.client.flush()
        monkeypatch.setattr(_Writers, "_look", count)
        await bus.client.publish("here", b"")
        await other.client.publish("here", b"")
        await until(lambda: len(heard) == 2)
    assert looked < 100, "they are written when the loop is idle, not after so many turns that it was kept busy"


async def test_more_than_the_socket_takes_arrives_whole(bus: Bus, stock: Client) -> None:
    heard = await _heard(stock, "large")
    for number in range(40):
        await bus.client.publish("large", bytes([number]) * 900_000)
    await until(lambda: len(heard) == 40)
    assert [message.data[0] for message in heard] == list(range(40))
    assert all(len(message.data) == 900_000 for message in heard)


async def test_a_listener_that_fails_hears_the_next_message(bus: Bus, stock: Client) -> None:
    heard: list[bytes] = []

    def listen(message: Msg) -> None:
        heard.append(message.data)
        if len(heard) == 1:
            raise ValueError("no")

    await bus.client.listen("here", listen)
    await bus.client.flush()
    for data in (b"1", b"2"):
        await stock.publish("here", data)
    await until(lambda: len(heard) == 2)
    assert heard == [b"1", b"2"]


async def test_who_has_unsubscribed_hears_no_more(bus: Bus, stock: Client) -> None:
    heard: list[bytes] = []
    subscription = await bus.client.listen("here", lambda message: heard.append(message.data))
    await bus.client.flush()
    await stock.publish("here", b"1")
    await until(lambda: len(heard) == 1)
    await bus.unsubscribe(subscription)
    await bus.client.flush()
    others = await _heard(bus.client, "here")
    await stock.publish("here", b"2")
    await until(lambda: len(others) == 1)
    assert heard == [b"1"]


async def test_a_listener_hears_on_after_the_server_was_restarted(bus: Bus, embedded_server: EmbeddedServer) -> None:
    heard: list[bytes] = []
    await bus.client.listen("here", lambda message: heard.append(message.data))
    reconnected = asyncio.Event()
    bus.on_reconnect(reconnected.set)
    await embedded_server.restart()
    await reconnected.wait()
    await bus.client.publish("here", b"1")
    await until(lambda: len(heard) == 1)


async def test_nothing_is_published_after_the_end(embedded_server: EmbeddedServer) -> None:
    bus = await Bus.connect(embedded_server.url, name="short")
    await bus.close()
    with pytest.raises(nats.errors.ConnectionClosedError):
        await bus.client.publish("here", b"1")


async def test_a_key_is_created_once(embedded_server: EmbeddedServer) -> None:
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        bucket = await bus.js.create_key_value(bucket="ONCE")
        await bucket.create("key", b"first")
        with pytest.raises(KeyWrongLastSequenceError):
            await bucket.create("key", b"second")
        assert (await bucket.get("key")).value == b"first"
