# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""The loop on a real server: slots, stopping, and what it costs."""

import asyncio
import time

import msgspec
import pytest

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.delivery import Delivery
from billow.bus.embedded import EmbeddedServer
from billow.bus.planning.apply import change_consumer
from billow.bus.publish import publish_event
from billow.bus.topology import OCR
from billow.runtime import trace
from billow.runtime.errors import BillowError
from billow.schemas.events import Submitted
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_submitted

QUICK = msgspec.structs.replace(OCR, ack_wait=5)
"""Short, and long enough for a machine that stands still between two heartbeats."""
PATIENT = msgspec.structs.replace(OCR, ack_wait=300)
"""What nobody gives back comes again only after the test."""


async def test_a_handled_message_is_acknowledged_and_never_comes_again(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.event(Submitted).document_id)

    for n in range(20):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert sorted(seen) == sorted(f"doc-{n}" for n in range(20))


async def test_not_more_than_the_concurrency_is_in_hand(bus: Bus) -> None:
    in_hand = 0
    most = 0
    go_on = asyncio.Event()

    async def handler(_: Delivery) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await go_on.wait()
        await asyncio.sleep(0.01)
        in_hand -= 1

    for n in range(12):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler, concurrency=3):
        await until(lambda: taken(bus, 12))
        await until(lambda: most >= 3)
        go_on.set()
        await until(lambda: settled(bus))
    assert most == 3


async def test_long_work_stays_with_its_holder(bus: Bus) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        await asyncio.sleep(QUICK.ack_wait + 2)

    await publish_event(bus, make_submitted())
    async with consuming(bus, handler, spec=QUICK):
        await until(lambda: settled(bus))
    assert handled == 1


async def test_stopping_finishes_what_is_in_hand_and_gives_back_the_rest(bus: Bus) -> None:
    begun: list[str] = []
    finished: list[str] = []
    go_on = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.subject)
        await go_on.wait()
        finished.append(delivery.subject)

    for n in range(5):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler, concurrency=2) as stopping:
        await until(lambda: len(begun) == 2)
        stopping.set()
        go_on.set()
    assert sorted(finished) == sorted(begun)
    later: list[str] = []

    async def other(delivery: Delivery) -> None:
        later.append(delivery.subject)

    async with consuming(bus, other):
        await until(lambda: settled(bus))
    assert len(later) == 3
    assert set(later).isdisjoint(finished)


async def test_what_is_not_finished_in_time_is_given_back(bus: Bus) -> None:
    begun = asyncio.Event()

    async def never(_: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    await change_consumer(bus, PATIENT)
    consumer = EventConsumer(bus, PATIENT, never, concurrency=1)
    await consumer.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping, drain=0.2))
    await publish_event(bus, make_submitted())
    async with asyncio.timeout(60):
        await begun.wait()
    stopping.set()
    async with asyncio.timeout(60):
        await running
        # Others have it now, not only when the server misses the acknowledgement.
        handled = asyncio.Event()

        async def other(_: Delivery) -> None:
            handled.set()

        async with consuming(bus, other, spec=PATIENT):
            await handled.wait()


async def test_full_hands_cost_no_time(bus: Bus) -> None:
    begun = 0
    go_on = asyncio.Event()

    async def handler(_: Delivery) -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()

    for n in range(20):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler, concurrency=2):
        await until(lambda: begun == 2)
        await until(lambda: taken(bus, 20))
        began, started = time.monotonic(), time.process_time()
        await asyncio.sleep(0.5)
        # Who asks without a pause takes all the time there is.
        assert time.process_time() - started < 0.4 * (time.monotonic() - began)
        assert begun == 2
        go_on.set()
        await until(lambda: settled(bus))
    assert begun == 20


async def taken(bus: Bus, count: int) -> bool:
    return (await bus.js.consumer_info("DOCUMENTS", "ocr")).num_ack_pending == count


async def test_a_connection_that_is_gone_for_good_ends_the_service(bus: Bus, embedded_server: EmbeddedServer) -> None:
    async def handler(_: Delivery) -> None:
        return

    async with await Bus.connect(embedded_server.url, name="doomed") as doomed:
        consumer = EventConsumer(doomed, OCR, handler, concurrency=2)
        await consumer.start()
        running = asyncio.create_task(consumer.run(asyncio.Event()))
        # Larger than the server allows: it ejects us.
        data = b"x" * doomed.client.max_payload
        await doomed.client.publish("too.large", data, headers={"A": "b"})
        with pytest.raises(BillowError, match="for good"):
            async with asyncio.timeout(60):
                await running


async def test_what_is_on_its_way_when_the_consumer_stops_is_given_back_at_once(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1

    async with await Bus.connect(embedded_server.url, name="publisher") as other:
        async with consuming(bus, handler, spec=PATIENT, concurrency=100):
            for n in range(200):
                await other.client.publish(f"documents.default.submitted.doc-{n}", b"{}")
            await other.client.flush()
        # Stopped in the middle of it: the rest is to be had now, not after ack_wait.
        subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
        while handled < 200:
            for message in await subscription.fetch(200 - handled, timeout=60):
                await message.ack()
                handled += 1


async def test_each_message_goes_on_with_its_own_trace(bus: Bus) -> None:
    ids = ["a" * 32, "b" * 32, None, "c" * 32]
    seen: list[str] = []

    async def handler(_: Delivery) -> None:
        first = trace.child()
        await asyncio.sleep(0)
        assert trace.child().split("-")[1] == first.split("-")[1]
        seen.append(first.split("-")[1])

    for n, trace_id in enumerate(ids):
        fields = {trace.HEADER: f"00-{trace_id}-{'1' * 16}-01"} if trace_id else {}
        await bus.js.publish(f"documents.default.submitted.doc-{n}", b"{}", headers=fields)
    async with consuming(bus, handler, concurrency=1):
        await until(lambda: len(seen) == 4)
    assert [seen[0], seen[1], seen[3]] == ["a" * 32, "b" * 32, "c" * 32]
    assert seen[2] not in ids
