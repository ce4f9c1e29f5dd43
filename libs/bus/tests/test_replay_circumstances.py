# pyright: reportUnknownMemberType=false
"""A replay comes to its end whatever happens meanwhile: erasures, a full stream, drivers that died, services away."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import msgspec
import pytest
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.erasure import erase, state_erasure, stored_at, tenant_erasure
from billow.bus.history import History
from billow.bus.publish import publish_event
from billow.bus.replay import driver as module
from billow.bus.replay.book import ReplayBook
from billow.bus.replay.control import cancel, new_run_id, pause
from billow.bus.replay.driver import ReplayDriver
from billow.bus.topology import LAYOUT_RUNS, OCR_RUNS, RUNS
from billow.runtime.errors import UsageError
from billow.schemas.events import Recognized
from billow.schemas.replay import ReplaySpec
from billow.testkit.consuming import consuming, until
from billow.testkit.events import make_completed, make_recognized
from billow.testkit.replays import begin, drive

FEW = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small portions, and documents count as unanswered soon."""
    monkeypatch.setattr(module, "PORTION", FEW // 2)
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.1)


def make_spec() -> ReplaySpec:
    now = datetime.now(UTC)
    return ReplaySpec(run_id=new_run_id(), start="recognized", until=now, created_at=now, in_flight=FEW)


async def fill(bus: Bus, tenant: str, count: int = FEW) -> None:
    for number in range(count):
        await publish_event(bus, make_recognized(f"{tenant}-{number}", tenant=tenant))


async def in_runs(bus: Bus, tenant: str, name: str = "recognized") -> int:
    found = [batch async for batch in History(bus, RUNS.name).batches(f"runs.{tenant}.*.{name}.*")]
    return sum(map(len, found))


async def erase_tenant(bus: Bus, tenant: str) -> None:
    event = tenant_erasure(tenant)
    sequence = await state_erasure(bus, event)
    await erase(bus, event, sequence, await stored_at(bus, event, sequence))


@contextlib.asynccontextmanager
async def answering(bus: Bus, held: str = "", gate: asyncio.Event | None = None) -> AsyncGenerator[list[str]]:
    """A service that completes all; documents of the tenant `held` once the gate is open."""
    seen: list[str] = []

    async def complete(delivery: Delivery) -> None:
        event = delivery.event(Recognized)
        seen.append(event.document_id)
        if gate is not None and event.tenant == held:
            await gate.wait()
        await publish_event(bus, make_completed(event.document_id, tenant=event.tenant, run_id=event.run_id))

    async with consuming(bus, complete, LAYOUT_RUNS, concurrency=64):
        yield seen


@pytest.mark.timeout(300)
async def test_documents_that_are_erased_before_anybody_began_them_make_room_for_others(bus: Bus) -> None:
    await fill(bus, "gone")
    await fill(bus, "stays", 2 * FEW)
    driving = asyncio.create_task(drive(bus, make_spec()))

    async def sent() -> bool:
        return await in_runs(bus, "gone") == FEW

    await until(sent)
    await erase_tenant(bus, "gone")
    async with answering(bus):
        state = await asyncio.wait_for(driving, 150)
    assert (state.status, state.sent, state.completed, state.unanswered) == ("finished", 3 * FEW, 2 * FEW, FEW)


@pytest.mark.timeout(300)
async def test_documents_that_are_erased_after_their_outcome_do_not_hold_up_the_others(bus: Bus) -> None:
    await fill(bus, "gone")
    await fill(bus, "stays", 3 * FEW)
    gate = asyncio.Event()
    async with answering(bus, "stays", gate) as seen:
        driving = asyncio.create_task(drive(bus, make_spec()))
        # All of the one tenant is counted, so the other has taken its room.
        await until(lambda: len(seen) == 2 * FEW)
        await erase_tenant(bus, "gone")
        gate.set()
        state = await asyncio.wait_for(driving, 150)
    assert (state.status, state.sent, state.completed) == ("finished", 4 * FEW, 3 * FEW)


async def test_a_run_that_was_cancelled_after_its_driver_died_stays_so(bus: Bus) -> None:
    await fill(bus, "acme")
    spec, book = make_spec(), ReplayBook(bus)
    run = await begin(bus, spec)
    # It was heard of just now, so it is left to see the order itself.
    await book.write(run, msgspec.structs.replace(run.state, sent=7))
    await cancel(bus, spec.run_id)
    run = await book.get(spec.run_id)
    assert run.state.status == "running"
    with pytest.raises(UsageError, match="was cancelled"):
        await ReplayDriver(bus, run, driver="another").drive()
    state = (await book.get(spec.run_id)).state
    assert (state.status, state.sent, state.driver) == ("cancelled", 7, "")
    assert await in_runs(bus, "acme") == 0


async def test_a_replay_that_waits_for_room_in_a_full_stream_is_paused_at_once(bus: Bus) -> None:
    await fill(bus, "acme", 3)
    config = (await bus.js.stream_info(RUNS.name)).config
    await bus.js.update_stream(config, max_bytes=1)
    refused = asyncio.Event()

    async def heard(_: Msg) -> None:
        refused.set()

    await bus.client.subscribe("runs.>", cb=heard)
    await bus.client.flush()
    spec = make_spec()
    driving = asyncio.create_task(drive(bus, spec))
    await asyncio.wait_for(refused.wait(), 60)
    assert await pause(bus, spec.run_id)
    state = await asyncio.wait_for(driving, 60)
    assert (state.status, state.sent) == ("paused", 0)
    assert await in_runs(bus, "acme") == 0


async def test_a_service_that_never_ran_does_not_end_a_replay(bus: Bus) -> None:
    await fill(bus, "acme", 3)
    await bus.js.delete_consumer(RUNS.name, OCR_RUNS.durable)

    async def drop_one(delivery: Delivery) -> None:
        event = delivery.event(Recognized)
        if event.document_id != "acme-1":
            await publish_event(bus, make_completed(event.document_id, tenant=event.tenant, run_id=event.run_id))

    async with consuming(bus, drop_one, LAYOUT_RUNS):
        state = await drive(bus, make_spec())
    assert (state.status, state.completed, state.unanswered) == ("finished", 2, 1)
