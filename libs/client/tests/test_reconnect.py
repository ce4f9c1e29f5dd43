"""A server that goes away while a client needs it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.history import History
from billow.bus.images import ImageStore
from billow.bus.publish import publish_event
from billow.client import Billow
from billow.runtime.errors import BillowError, TransientError
from billow.schemas.record import Record
from billow.testkit.events import make_completed


@pytest_asyncio.fixture
async def client(embedded_server: EmbeddedServer) -> AsyncIterator[Billow]:
    async with Billow(embedded_server.url, patience=60) as billow:
        yield billow


async def test_submitting_during_a_restart_waits_and_succeeds_once(
    client: Billow, embedded_server: EmbeddedServer
) -> None:
    photos = {f"doc-{number}": b"photo %d" % number * 1000 for number in range(20)}
    await embedded_server.stop()
    submitting = [asyncio.create_task(client.submit(data, document_id=name)) for name, data in photos.items()]
    await asyncio.sleep(0.5)
    assert not any(task.done() for task in submitting)
    await embedded_server.restart()
    assert await asyncio.gather(*submitting) == list(photos)
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        stored = await History(bus).page("documents.default.submitted.*")
        assert sorted(each.subject.rpartition(".")[2] for each in stored) == sorted(photos)
        for name, data in photos.items():
            assert await ImageStore(bus.client).get("default", f"{name}/original") == data


async def test_submitting_while_the_server_restarts_under_it(client: Billow, embedded_server: EmbeddedServer) -> None:
    stop = asyncio.Event()

    async def keep_submitting(who: int) -> list[str]:
        names: list[str] = []
        while not stop.is_set():
            name = f"doc-{who}-{len(names)}"
            await client.submit(name.encode() * 100, document_id=name)
            names.append(name)
        return names

    tasks = [asyncio.create_task(keep_submitting(who)) for who in range(4)]
    for _ in range(2):
        await asyncio.sleep(0.2)
        await embedded_server.kill()
        await embedded_server.restart()
    stop.set()
    accepted = [name for names in await asyncio.gather(*tasks) for name in names]
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        there = [each async for each in _all(bus)]
    assert sorted(there) == sorted(set(there))
    assert set(accepted) <= set(there)


async def _all(bus: Bus) -> AsyncIterator[str]:
    async for stored in History(bus).follow("documents.default.submitted.*"):
        if stored is None:
            return
        yield stored.subject.rpartition(".")[2]


async def test_a_server_that_stays_away_is_said_with_what_to_do(embedded_server: EmbeddedServer) -> None:
    async with Billow(embedded_server.url, patience=0.5) as billow:
        await embedded_server.stop()
        started = time.monotonic()
        with pytest.raises(TransientError, match=r"not handed in.*same document_id"):
            await billow.submit(b"photo", document_id="doc-1")
        assert time.monotonic() - started < 60
        await embedded_server.restart()


async def test_who_waits_gets_the_result_that_came_meanwhile(client: Billow, embedded_server: EmbeddedServer) -> None:
    got: list[Record] = []
    called = asyncio.Event()

    async def on_result(record: Record) -> None:
        got.append(record)
        called.set()

    await client.submit(b"photo", document_id="doc-1", on_result=on_result)
    waiting = [asyncio.create_task(client.result("doc-1", timeout=60)) for _ in range(50)]
    await asyncio.sleep(0)
    await embedded_server.restart()
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        event = make_completed("doc-1")
        await publish_event(bus, event)
        assert await asyncio.gather(*waiting) == [event.record] * 50
        async with asyncio.timeout(60):
            await called.wait()
    assert got == [event.record]


async def test_a_callback_that_fails_harms_nobody_and_a_plain_one_will_do(
    client: Billow, embedded_server: EmbeddedServer
) -> None:
    def broken(_: Record) -> None:
        raise RuntimeError("my own fault")

    got: list[str] = []
    await client.submit(b"one", document_id="doc-1", on_result=broken)
    await client.submit(b"two", document_id="doc-2", on_result=lambda record: got.append(record.document_id))
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        for name in ("doc-1", "doc-2"):
            await publish_event(bus, make_completed(name))
        async with asyncio.timeout(60):
            while not got:
                await asyncio.sleep(0.01)
    assert got == ["doc-2"]


async def test_a_connection_that_ended_for_good_is_said(client: Billow) -> None:
    waiting = asyncio.create_task(client.result("doc-1"))
    await asyncio.sleep(0.1)
    assert client._parts is not None  # pyright: ignore[reportPrivateUsage]
    await client._parts.bus.client.close()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(BillowError, match="for good"):
        await client.submit(b"photo")
    async with asyncio.timeout(60):
        with pytest.raises(BillowError, match="for good"):
            await waiting
