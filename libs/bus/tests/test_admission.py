"""Who may hand in documents, and who is told to come back."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from billow.bus import backlog
from billow.bus.admission import Admission
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.faults import BusyError
from billow.bus.publish import publish_event
from billow.bus.rates import grant
from billow.bus.tenants import remove_policy, set_policy
from billow.bus.topology import ADMISSION, DOCUMENTS, OCR
from billow.schemas.tenants import TenantPolicy
from billow.testkit.consuming import until
from billow.testkit.events import make_recognized, make_submitted

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false


def test_a_burst_passes_and_then_the_rate() -> None:
    now, full_at, passed = 1000.0, 0.0, 0
    for _ in range(1000):  # ten seconds, asked a hundred times a second
        granted = grant(full_at, now, rate=5, burst=20, wanted=1)
        passed, full_at = passed + granted.count, granted.full_at
        now += 0.01
    assert passed == 20 + 49


def test_who_is_refused_learns_when_there_will_be_one() -> None:
    full = grant(0, 1000, rate=0.5, burst=3, wanted=100)
    assert full.count == 3
    refused = grant(full.full_at, 1000.5, rate=0.5, burst=3, wanted=1)
    assert refused.count == 0
    assert refused.wait == pytest.approx(1.5)
    assert grant(full.full_at, 1000.5 + refused.wait, rate=0.5, burst=3, wanted=1).count == 1


async def _hammer(
    admission: Admission, tenant: str, seconds: float, *, admit: int = 0, refuse: int = 0
) -> tuple[int, int]:
    """Admitted and refused, of which there are so many at least: for longer, where little happened in the time."""
    admitted = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or admitted < admit or refused < refuse:
        try:
            await admission.admit(tenant)
            admitted += 1
        except BusyError as e:
            assert 1 <= e.delay <= 60
            refused += 1
        await asyncio.sleep(0.002)
    return admitted, refused


async def test_all_clients_of_a_tenant_share_its_rate(bus: Bus, embedded_server: EmbeddedServer) -> None:
    await set_policy(bus, "acme", TenantPolicy(rate=20, burst=10))
    async with AsyncExitStack() as stack:
        clients: list[Admission] = []
        for number in range(4):
            other = await stack.enter_async_context(await Bus.connect(embedded_server.url, name=f"client-{number}"))
            clients.append(await stack.enter_async_context(Admission(other)))
        started = time.monotonic()
        counts = await asyncio.gather(*(_hammer(client, "acme", 2.0, admit=3, refuse=1) for client in clients))
        took = time.monotonic() - started
        admitted = sum(count for count, _ in counts)
        assert admitted <= 10 + 20 * took + 1
        assert admitted >= 10
        assert all(refused for _, refused in counts)
        # Nobody else is held back, and neither is this tenant once it has no limit.
        await asyncio.gather(*(clients[0].admit("globex") for _ in range(500)))
        await remove_policy(bus, "acme")
        async with asyncio.timeout(60):
            while (await _hammer(clients[0], "acme", 0.05))[1]:
                pass


async def test_few_documents_cost_a_round_trip(bus: Bus) -> None:
    await set_policy(bus, "acme", TenantPolicy(rate=1000, burst=1000))
    async with Admission(bus) as admission:
        await admission.admit("acme")
        before = bus.client.stats["out_msgs"]
        for _ in range(500):
            await admission.admit("acme")
        assert bus.client.stats["out_msgs"] - before < 100


async def test_what_was_reserved_and_not_used_is_lost(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billow.bus.rates.HOLD_SECONDS", 0.05)
    await set_policy(bus, "acme", TenantPolicy(rate=0.001, burst=100))
    admitted = 0
    async with Admission(bus) as admission:
        with pytest.raises(BusyError, match="billow tenants show acme") as caught:
            while True:
                await admission.admit("acme")
                admitted += 1
    assert 1 <= admitted <= 100
    assert caught.value.delay == 60


async def test_a_restart_of_the_server_lets_no_more_than_a_burst_pass(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    await set_policy(bus, "acme", TenantPolicy(rate=0.001, burst=5))
    async with Admission(bus) as admission:
        assert (await _hammer(admission, "acme", 0.3, refuse=1))[0] == 5
        await bus.js.purge_stream(f"KV_{ADMISSION.name}")
        admitted = 0
        async with asyncio.timeout(60):
            while not admitted:
                admitted = (await _hammer(admission, "acme", 0.3))[0]
        assert admitted <= 5


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlog is looked at all the time."""
    monkeypatch.setattr(backlog, "LOOK_SECONDS", 0.02)


async def _until_refused(admission: Admission, tenant: str) -> BusyError:
    async with asyncio.timeout(60):
        while True:
            try:
                await admission.admit(tenant)
            except BusyError as e:
                return e
            await asyncio.sleep(0.01)


async def _until_admitted(admission: Admission, tenant: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                return await admission.admit(tenant)
            except BusyError:
                await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick_looks")
async def test_a_backlog_refuses_until_it_is_worked_off(bus: Bus) -> None:
    async with Admission(bus, max_backlog=10) as admission:
        await admission.admit("acme")
        for number in range(12):
            await publish_event(bus, make_submitted(f"doc-{number}"))

        async def all_are_seen() -> bool:
            # The look that refused may be of the moment before the last ones.
            refusal = await _until_refused(admission, "acme")
            assert 1 <= refusal.delay <= 60
            return "12 documents wait" in str(refusal)

        await until(all_are_seen)
        pulled = await bus.js.pull_subscribe_bind(stream=OCR.stream, durable=OCR.durable)
        messages = [(await pulled.fetch(1, timeout=10))[0] for _ in range(3)]
        # In hand is not done.
        await _until_refused(admission, "acme")
        for message in messages:
            await message.ack()
        await _until_admitted(admission, "acme")


@pytest.mark.usefixtures("quick_looks")
async def test_a_tenant_has_a_backlog_of_its_own(bus: Bus) -> None:
    await set_policy(bus, "acme", TenantPolicy(max_backlog=3))
    for number in range(3):
        await publish_event(bus, make_submitted(f"doc-{number}", tenant="acme"))
        await publish_event(bus, make_submitted(f"doc-{number}", tenant="globex"))
    async with Admission(bus) as admission:
        refusal = await _until_refused(admission, "acme")
        assert "3 documents of tenant acme wait" in str(refusal)
        await admission.admit("globex")
        pulled = await bus.js.pull_subscribe_bind(stream=OCR.stream, durable=OCR.durable)
        for _ in range(6):
            (message,) = await pulled.fetch(1, timeout=10)
            if ".acme." in message.subject:
                await message.ack()
        await _until_admitted(admission, "acme")


@pytest.mark.usefixtures("quick_looks")
async def test_what_was_accepted_finds_room_to_finish(bus: Bus) -> None:
    config = (await bus.js.stream_info(DOCUMENTS.name)).config
    config.max_bytes = 3_000_000
    await bus.js.update_stream(config)
    accepted: list[str] = []
    async with Admission(bus) as admission:
        with pytest.raises(BusyError, match="accepted already") as caught:
            for number in range(10_000):
                await admission.admit("default")
                await publish_event(bus, make_submitted(f"doc-{number}", source="x" * 20_000))
                accepted.append(f"doc-{number}")
    assert 1 <= caught.value.delay <= 60
    assert len(accepted) > 5
    # The stream itself has still room for what is made of them.
    for name in accepted:
        await publish_event(bus, make_recognized(name))


async def test_where_nothing_can_be_found_out_nobody_is_refused(embedded_server: EmbeddedServer) -> None:
    async with await Bus.connect(embedded_server.url, name="early") as early, Admission(early) as admission:
        await admission.admit("acme")
