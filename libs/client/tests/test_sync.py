"""The client for threads, against a real server; what the services would say is said on the test's loop."""

import asyncio
import multiprocessing
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.publish import publish_event
from billow.client import Billow as AsyncBillow
from billow.client.sync import Billow
from billow.runtime.errors import StackUnreachableError
from billow.schemas.record import Record
from billow.testkit.events import make_cancelled, make_completed
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def answering(nats_server: NatsServer, bus: Bus) -> AsyncIterator[None]:
    """Completes every document."""
    async with AsyncBillow(nats_server.url) as ears:

        async def listen() -> None:
            # From the beginning: what is submitted before it listens counts too.
            async for event in ears.events(kinds=["submitted"], since=timedelta(hours=1)):
                await publish_event(bus, make_completed(event.document_id))

        listening = asyncio.create_task(listen())
        yield
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def work(url: str, folder: Path) -> None:
    """A backend with threads."""
    got: list[Record] = []
    called = threading.Event()
    with Billow(url) as billow:

        def on_result(record: Record) -> None:
            # It may use the client: it is on a thread of its own.
            assert billow.get(record.document_id) == record
            got.append(record)
            called.set()

        record = billow.extract(b"photo", timeout=60)
        assert record.status == "completed"
        assert billow.submit(b"two", document_id="doc-2", on_result=on_result) == "doc-2"
        assert billow.result("doc-2", timeout=60).document_id == "doc-2"
        assert called.wait(60)
        assert [type(event).__name__ for event in billow.events("doc-2")] == ["Submitted", "Completed"]
        assert billow.cancel("doc-2", timeout=60) == got[0]
        assert billow.text("doc-2") == ()
        assert (billow.workers(), billow.queue_depth("text-detection", "x_1-0-0")) == ([], 0)

        paths = [folder / f"{number}.jpg" for number in range(5)]
        for path in paths:
            path.write_bytes(path.name.encode())
        results = list(billow.batch((path for path in paths), concurrency=2, timeout=60))
        assert {result.document for result in results if result.completed} == set(paths)

        with ThreadPoolExecutor(8) as threads:
            photos = [b"%d" % number for number in range(24)]
            running = [threads.submit(billow.extract, photo, timeout=60) for photo in photos]
            records = [each.result() for each in running]
        assert len({record.document_id for record in records}) == 24
    with pytest.raises(RuntimeError, match="Not connected"):
        billow.get("doc-2")
    billow.close()


@pytest.mark.usefixtures("answering")
async def test_everything_works_from_threads_without_a_loop(nats_server: NatsServer, tmp_path: Path) -> None:
    before = threading.active_count()
    await asyncio.to_thread(work, nats_server.url, tmp_path)
    names = [thread.name for thread in threading.enumerate()]
    assert "billow-client" not in names
    assert threading.active_count() <= before + 20


async def test_a_subscription_goes_on_where_it_was_left(nats_server: NatsServer, bus: Bus) -> None:
    def first() -> None:
        with Billow(nats_server.url) as billow, billow.subscribe("shop", kinds=["cancelled"]) as events:
            ready.set()
            assert next(events).document_id == "doc-1"

    def second() -> list[str]:
        with Billow(nats_server.url) as billow, billow.subscribe("shop", kinds=["cancelled"]) as events:
            found: list[str] = []
            for event in events:
                found.append(event.document_id)
                if len(found) == 2:
                    events.close()
            assert billow.unsubscribe("shop")
            return found

    ready = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(first))
    assert await asyncio.to_thread(ready.wait, 60)
    await publish_event(bus, make_cancelled("doc-1"))
    await running
    for name in ("doc-2", "doc-3"):
        await publish_event(bus, make_cancelled(name))
    assert await asyncio.to_thread(second) == ["doc-2", "doc-3"]


async def test_leaving_an_iterator_early_ends_it(nats_server: NatsServer, bus: Bus) -> None:
    await publish_event(bus, make_completed("doc-1"))
    await publish_event(bus, make_completed("doc-2"))

    def look() -> str:
        with Billow(nats_server.url) as billow:
            for event in billow.events(follow=False):
                return event.document_id
        raise AssertionError

    assert await asyncio.to_thread(look) == "doc-1"


def test_nobody_there_is_said_and_leaves_no_thread() -> None:
    with pytest.raises(StackUnreachableError, match="billow up"):
        Billow("nats://127.0.0.1:9").connect(timeout=1)
    assert "billow-client" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(RuntimeError, match="with Billow"):
        Billow().get("doc-1")


def _use(billow: Billow, answer: "multiprocessing.Queue[str]") -> None:
    try:
        billow.get("doc-1")
    except RuntimeError as e:
        answer.put(str(e))


async def test_a_fork_is_told_to_connect_for_itself(nats_server: NatsServer) -> None:
    def fork() -> str:
        context = multiprocessing.get_context("fork")
        with Billow(nats_server.url) as billow:
            answer: multiprocessing.Queue[str] = context.Queue()  # type: ignore[assignment]  # pyright: ignore
            child = context.Process(target=_use, args=(billow, answer))
            child.start()
            said = answer.get(timeout=60)
            child.join()
            return said

    assert "in each process" in await asyncio.to_thread(fork)
