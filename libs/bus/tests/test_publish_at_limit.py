"""Twenty clients at a stream that is at its limit: what they were told is what happened."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from billow.bus import publish as publishing
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.faults import BusyError
from billow.bus.provision import ensure_consumer
from billow.bus.publish import publish, publish_event
from billow.bus.topology import DOCUMENTS, INFERENCE, OCR, inference_consumer
from billow.runtime.errors import TransientError
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false

CLIENTS = 20
EVENTS = 50_000
FEWER = 20_000
"""Where the server is killed meanwhile."""
AT_ONCE = 4
"""Events on their way at the same time over each connection."""

Say = Callable[[Bus, str], Awaitable[object]]


class Told:
    """What the publishers were told of each event, by its id."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        """There was no answer to some attempt and acceptance to none: stored or not, nobody knows."""

    def __len__(self) -> int:
        return len(self.accepted) + len(self.refused) + len(self.unknown)

    async def say(self, bus: Bus, name: str, say: Say) -> None:
        """Say it once, and note the answer."""
        try:
            await say(bus, name)
            self.accepted.add(name)
        except BusyError as e:
            assert 1 <= e.delay <= 60
            self.refused.add(name)
        except TransientError:
            self.unknown.add(name)

    async def say_all(self, clients: list[Bus], events: int, say: Say) -> None:
        """So many events, each once, over all connections."""
        names = iter(range(events))

        async def one(bus: Bus) -> None:
            for name in names:
                await self.say(bus, f"doc-{name}", say)

        await asyncio.gather(*(one(bus) for bus in clients for _ in range(AT_ONCE)))


@asynccontextmanager
async def _clients(url: str) -> AsyncGenerator[list[Bus]]:
    async with AsyncExitStack() as stack:
        made = [await Bus.connect(url, name=f"client-{number}") for number in range(CLIENTS)]
        yield [await stack.enter_async_context(bus) for bus in made]


async def _take(bus: Bus, stream: str, durable: str, taken: list[str], enough: asyncio.Event) -> None:
    """Pull and acknowledge, until there is no more after `enough` is set."""
    pulled = await bus.js.pull_subscribe_bind(stream=stream, durable=durable)
    while True:
        last = enough.is_set()
        try:
            messages = await pulled.fetch(200, timeout=1)
        except TimeoutError:
            # A machine that stood still meanwhile is no end.
            info = await bus.js.consumer_info(stream, durable)
            if last and not info.num_pending and not info.num_ack_pending:
                return
            continue
        for message in messages:
            taken.append((message.headers or {})["Nats-Msg-Id"])
            await message.ack()


@pytest.mark.timeout(600)
async def test_twenty_clients_at_a_full_queue_for_models(
    bus: Bus, embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is killed here, so every attempt has its answer, however long this machine takes.
    monkeypatch.setattr(publishing, "_ACK_SECONDS", 60.0)
    monkeypatch.setattr(publishing, "_LAST_ACK_SECONDS", 60.0)
    config = (await bus.js.stream_info(INFERENCE.name)).config
    config.max_msgs_per_subject = 30
    await bus.js.update_stream(config)
    spec = inference_consumer("text-detection", "fake_1-0-0", "bulk")
    await ensure_consumer(bus, spec)
    told, delivered, said = Told(), list[str](), asyncio.Event()

    async def say(client: Bus, name: str) -> object:
        tenant = f"tenant-{int(name.rpartition('-')[2]) % 3}"
        subject = f"inference.text-detection.fake_1-0-0.bulk.{tenant}"
        return await publish(client, subject, b"work", message_id=name, stream=INFERENCE.name, extra={})

    async with _clients(embedded_server.url) as clients:

        async def take() -> None:
            # Not before it is full, however quick who takes is and however slow who publishes.
            await until(lambda: bool(told.refused))
            await _take(bus, spec.stream, spec.durable, delivered, said)

        taking = asyncio.create_task(take())
        await told.say_all(clients, EVENTS, say)
        said.set()
        await taking
    assert len(told) == EVENTS
    assert not told.unknown
    assert told.refused, "the queue was never full, so nothing was shown"
    assert len(delivered) == len(set(delivered))
    assert set(delivered) == told.accepted


@pytest.mark.timeout(600)
async def test_twenty_clients_at_a_full_stream_whose_server_is_killed(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    config = (await bus.js.stream_info(DOCUMENTS.name)).config
    config.max_bytes = 8_000_000
    await bus.js.update_stream(config)
    told, delivered, said = Told(), list[str](), asyncio.Event()

    async def say(client: Bus, name: str) -> object:
        return await publish_event(client, make_submitted(name))

    async def kill() -> None:
        async with asyncio.timeout(400):
            while len(told.accepted) < 3_000:
                await asyncio.sleep(0.01)
        await embedded_server.kill()
        await embedded_server.restart()

    async with _clients(embedded_server.url) as clients:
        await asyncio.gather(told.say_all(clients, FEWER, say), kill())
        said.set()
        await _take(bus, OCR.stream, OCR.durable, delivered, said)
    stored = {name.split(".")[1] for name in delivered}
    assert len(told) == FEWER
    assert told.refused, "the stream was never full, so nothing was shown"
    assert len(delivered) == len(stored), "an event offered again is stored once"
    # What was accepted is there, what was refused is not; what nobody answered for was on its way at the time.
    assert told.accepted <= stored
    assert not told.refused & stored
    assert stored <= told.accepted | told.unknown
    assert len(told.unknown) <= CLIENTS * AT_ONCE
