# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Turns between tenants, lanes and replicas, on a real server with handlers that sleep."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from statistics import median

import msgspec
import pytest

from billow.bus import consume
from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.embedded import EmbeddedServer
from billow.bus.lane import submitted_lane
from billow.bus.publish import publish_event
from billow.bus.topology import LAYOUT, MAX_DELIVERIES, OCR
from billow.schemas import codec
from billow.schemas.events import EVENT_NAMES, Recognized, Submitted
from billow.schemas.labels import Lane
from billow.testkit.consuming import consuming, dead_letters, settled, until
from billow.testkit.events import make_recognized, make_submitted

QUICK = msgspec.structs.replace(OCR, ack_wait=5)
"""Short, and long enough for a machine that stands still between two heartbeats."""
WORK_SECONDS = 0.1


async def submit(bus: Bus, tenant: str, count: int, *, lane: Lane = "interactive", name: str = "doc") -> None:
    """Many documents at once: nobody waits for the server's word."""
    for n in range(count):
        event = make_submitted(f"{name}-{n}", tenant=tenant, lane=lane)
        await bus.client.publish(f"documents.{tenant}.submitted.{event.document_id}", codec.encode(event))
    await bus.client.flush()


class Arrivals:
    """Counts what the consumer has, as it tells the lane of each; what the server has sent may be on its way."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, data: bytes, fields: Mapping[str, str]) -> Lane:
        self.count += 1
        return submitted_lane(data, fields)


class Desk:
    """Handles each document by sleeping, and remembers who was handled when."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: dict[str, float] = {}

    async def handle(self, delivery: Delivery) -> None:
        self.begun.append(delivery.subject)
        await asyncio.sleep(WORK_SECONDS)
        self.done[delivery.subject] = time.monotonic()

    async def seconds(self, bus: Bus, event: Submitted | Recognized) -> float:
        """From its publication until a single event is done."""
        started = time.monotonic()
        await publish_event(bus, event)
        subject = f"documents.{event.tenant}.{EVENT_NAMES[type(event)]}.{event.document_id}"
        await until(lambda: subject in self.done)
        return self.done[subject] - started


@pytest.mark.parametrize(("other", "lane"), [("a", "interactive"), ("b", "bulk")])
async def test_a_single_document_is_at_most_three_times_slower_while_a_thousand_others_wait(
    bus: Bus, other: str, lane: Lane
) -> None:
    desk, idle_desk = Desk(), Desk()
    async with consuming(bus, desk.handle, lane_of=submitted_lane), consuming(bus, idle_desk.handle, LAYOUT):
        before = [await desk.seconds(bus, make_submitted(f"idle-{n}", tenant="b")) for n in range(7)]
        await submit(bus, other, 1_000, lane=lane, name="backlog")
        await until(lambda: len(desk.done) > 15)
        beside: list[float] = []
        loaded: list[float] = []
        for n in range(7):
            # This machine may be busier now than it was: what an idle service takes at the same time counts too.
            beside.append(await idle_desk.seconds(bus, make_recognized(f"beside-{n}", tenant="b")))
            loaded.append(await desk.seconds(bus, make_submitted(f"loaded-{n}", tenant="b")))
        assert len(desk.done) < 900
    assert median(loaded) <= 3 * max(median(before), median(beside))


async def test_bulk_work_is_not_starved_by_interactive_work(bus: Bus) -> None:
    begun: list[str] = []
    go_on = asyncio.Event()
    arrivals = Arrivals()

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.subject)
        await go_on.wait()

    await submit(bus, "a", 100)
    await submit(bus, "a", 5, lane="bulk", name="bulk")
    async with consuming(bus, handler, lane_of=arrivals):
        await until(lambda: arrivals.count == 105)
        go_on.set()
        await until(lambda: len(begun) >= 28)
    assert sum("bulk" in subject for subject in begun[:28]) == 5


async def test_a_tenant_with_nothing_in_hand_does_not_wait_for_the_long_ones_of_another(bus: Bus) -> None:
    go_on = asyncio.Event()
    begun: list[str] = []

    async def handler(delivery: Delivery) -> None:
        tenant = delivery.subject.split(".")[1]
        begun.append(tenant)
        if tenant in ("a", "stuck"):
            await go_on.wait()

    async with consuming(bus, handler, concurrency=2):
        await submit(bus, "a", 10)
        await until(lambda: begun == ["a", "a"])
        for tenant in ("b", "c"):
            await submit(bus, tenant, 2)
            await until(lambda tenant=tenant: begun.count(tenant) == 2)
        await submit(bus, "stuck", 1)
        await until(lambda: begun.count("stuck") == 1)
        await submit(bus, "d", 1)
        await until(lambda: taken(bus, 12))
        assert begun.count("a") == 2, "no more than the slots"
        assert begun.count("d") == 0, "no more than one slot beyond them"
        go_on.set()
        await until(lambda: settled(bus))
    assert (begun.count("a"), begun.count("d")) == (10, 1)


async def taken(bus: Bus, count: int) -> bool:
    info = await bus.js.consumer_info("DOCUMENTS", "ocr")
    return info.num_pending == 0 and info.num_ack_pending == count


async def test_turns_go_by_what_handlers_charge(bus: Bus) -> None:
    arrivals = Arrivals()
    order: list[str] = []
    go_on = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        await go_on.wait()
        tenant = delivery.subject.split(".")[1]
        delivery.charge(90 if tenant == "long" else 10)
        order.append(tenant)

    await submit(bus, "long", 40)
    await submit(bus, "short", 40)
    # Two slots, and one tenant at a time may have one more.
    async with consuming(bus, handler, concurrency=2, lane_of=arrivals):
        # What the server has sent may still be on its way; who is not here yet cannot be next.
        await until(lambda: arrivals.count == 80)
        go_on.set()
        await until(lambda: len(order) == 80)
    assert order[:48].count("short") == 40


@pytest.mark.timeout(300)
async def test_two_replicas_share_a_backlog(bus: Bus, embedded_server: EmbeddedServer) -> None:
    first: list[str] = []
    second: list[str] = []

    joined = asyncio.Event()

    async def alone_at_first(delivery: Delivery) -> None:
        first.append(delivery.subject)
        if len(first) > 10:
            await joined.wait()
        await asyncio.sleep(0.02)

    async def later(delivery: Delivery) -> None:
        second.append(delivery.subject)
        joined.set()
        await asyncio.sleep(0.02)

    await submit(bus, "a", 500)
    async with consuming(bus, alone_at_first, concurrency=2):
        await until(lambda: len(first) > 10)
        async with await Bus.connect(embedded_server.url, name="replica") as other:
            left = 500 - len(first)
            async with consuming(other, later, concurrency=2):
                await until(lambda: settled(bus), 120)
    assert len({*first, *second}) == len(first) + len(second) == 500
    assert len(second) >= 0.3 * left
    assert await dead_letters(bus) == 0


async def test_what_was_held_but_not_begun_never_counts_as_a_failure(bus: Bus) -> None:
    await submit(bus, "a", 20)
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def one_each(_: Delivery) -> None:
        begun.set()
        await go_on.wait()

    for _ in range(MAX_DELIVERIES + 1):
        go_on.clear()
        begun.clear()
        async with consuming(bus, one_each, concurrency=1) as stopping:
            await until(lambda: everything_held(bus))
            await until(begun.is_set)
            stopping.set()
            go_on.set()
    in_hand = most = 0
    four = asyncio.Event()

    async def handler(_: Delivery) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        if in_hand == 4:
            four.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await four.wait()
        in_hand -= 1

    async with consuming(bus, handler, concurrency=4):
        await until(lambda: settled(bus))
    assert most == 4, "none was tried alone, as what fails again and again is"
    assert await dead_letters(bus) == 0


async def everything_held(bus: Bus) -> bool:
    info = await bus.js.consumer_info("DOCUMENTS", "ocr")
    return info.num_pending == 0 and (info.num_ack_pending or 0) > 0


async def test_what_waits_for_its_turn_stays_with_its_holder(bus: Bus) -> None:
    begun: list[str] = []

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.subject)
        await asyncio.sleep(QUICK.ack_wait / 2 + 0.2)

    await submit(bus, "a", 3)
    async with consuming(bus, handler, spec=QUICK, concurrency=1):
        await until(lambda: settled(bus))
    assert begun == [f"documents.a.submitted.doc-{n}" for n in range(3)]


async def test_without_lookahead_the_order_is_that_of_the_stream(bus: Bus) -> None:
    order: list[str] = []

    async def handler(delivery: Delivery) -> None:
        order.append(delivery.subject.split(".")[1])

    await submit(bus, "a", 10)
    await submit(bus, "b", 10)
    async with consuming(bus, handler, concurrency=1, lookahead=0):
        await until(lambda: len(order) == 20)
    assert order == ["a"] * 10 + ["b"] * 10


@pytest.mark.parametrize(("lookahead", "budget"), [(10, 2**26), (1_000, 4_000)])
async def test_no_more_is_held_than_there_is_room_for(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, lookahead: int, budget: int
) -> None:
    monkeypatch.setattr(consume, "_HELD_BYTES", budget)
    handled = 0
    most = 0
    arrivals = Arrivals()
    go_on = asyncio.Event()

    async def handler(_: Delivery) -> None:
        nonlocal handled, most
        await go_on.wait()
        most = max(most, arrivals.count - handled)
        await asyncio.sleep(0)
        handled += 1

    await submit(bus, "a", 200)
    async with consuming(bus, handler, concurrency=2, lookahead=lookahead, lane_of=arrivals):
        await until(lambda: arrivals.count >= 4)
        # Time in which it could take more, if it did.
        await asyncio.sleep(0.3)
        # What lies in the client's own buffers counts too.
        assert ((await bus.js.consumer_info("DOCUMENTS", "ocr")).num_ack_pending or 0) <= 20
        go_on.set()
        await until(lambda: settled(bus))
    assert handled == 200
    # An event here is about 330 bytes; in hand are some more.
    assert 4 <= most <= 15


async def test_an_idle_replica_takes_what_a_busy_one_has_no_slot_for(bus: Bus, embedded_server: EmbeddedServer) -> None:
    go_on = asyncio.Event()
    stuck: list[str] = []

    async def wait(delivery: Delivery) -> None:
        stuck.append(delivery.subject)
        await go_on.wait()

    desk = Desk()
    async with consuming(bus, wait, concurrency=2):
        await submit(bus, "a", 2)
        await until(lambda: len(stuck) == 2)
        async with await Bus.connect(embedded_server.url, name="replica") as other, consuming(other, desk.handle):
            await until(lambda: somebody_waits(bus))
            await submit(bus, "a", 4, name="later")
            await until(lambda: len(desk.done) == 4)
        go_on.set()
        await until(lambda: settled(bus))
    assert len(stuck) == 2


async def somebody_waits(bus: Bus) -> bool:
    return ((await bus.js.consumer_info("DOCUMENTS", "ocr")).num_waiting or 0) > 0
