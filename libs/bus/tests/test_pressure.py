"""What a full system says, and how long its publishers wait."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from billow.bus import pressure
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.faults import BusyError
from billow.bus.pressure import LONGEST, SHORTEST, Pressure
from billow.bus.publish import PATIENCE_SECONDS, publish, publish_event
from billow.bus.topology import DOCUMENTS, INFERENCE
from billow.runtime.errors import TransientError
from billow.schemas import codec
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for tests that have none."""
    clock = [1000.0]
    monkeypatch.setattr(pressure.time, "monotonic", lambda: clock[0])
    return clock


def test_the_longer_it_is_full_the_later_to_come_back(now: list[float]) -> None:
    felt = Pressure()
    delays: list[float] = []
    for _ in range(12):
        # Many at once do not make it longer.
        delays.append(max(felt.refused("q") for _ in range(100)))
        now[0] += delays[-1]
    assert delays[0] == SHORTEST
    assert delays[-1] == LONGEST
    assert delays == sorted(delays)
    assert felt.refused("another") == SHORTEST
    felt.accepted("q")
    assert felt.refused("q") == SHORTEST


def test_a_refusal_of_long_ago_does_not_count(now: list[float]) -> None:
    felt = Pressure()
    felt.refused("q")
    now[0] += 3600
    assert felt.refused("q") == SHORTEST


async def _submit(bus: Bus, name: str, patience: float = 60.0) -> int:
    """With more patience than in production, where not its end is what a test is about."""
    subject, data = f"documents.default.submitted.{name}", codec.encode(make_submitted(name))
    return await publish(bus, subject, data, message_id=name, stream=DOCUMENTS.name, extra={}, patience=patience)


async def _limit(bus: Bus, stream: str, max_bytes: int) -> None:
    config = (await bus.js.stream_info(stream)).config
    config.max_bytes = max_bytes
    await bus.js.update_stream(config)


async def test_a_full_stream_says_when_to_come_back(bus: Bus) -> None:
    await _limit(bus, DOCUMENTS.name, 20_000)
    accepted = 0
    with pytest.raises(BusyError, match="full") as caught:
        for accepted in range(1000):
            await publish_event(bus, make_submitted(f"doc-{accepted}"))
    assert SHORTEST <= caught.value.delay <= LONGEST
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == accepted > 0
    # With room again the same event is taken.
    await _limit(bus, DOCUMENTS.name, 40_000)
    await publish_event(bus, make_submitted(f"doc-{accepted}"))


async def test_a_model_that_is_full_is_no_reason_to_come_later_to_another(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[str] = []

    def refused(_: Pressure, queue: str) -> float:
        refusals.append(queue)
        return 7.0

    monkeypatch.setattr(Pressure, "refused", refused)
    config = (await bus.js.stream_info(INFERENCE.name)).config
    config.max_msgs_per_subject = 1
    await bus.js.update_stream(config)

    async def put(model: str) -> None:
        subject = f"inference.text-detection.{model}.bulk.acme"
        await publish(bus, subject, b"x", message_id=None, stream=INFERENCE.name, extra={})

    await put("one")
    with pytest.raises(BusyError) as caught:
        await put("one")
    await put("two")
    assert caught.value.delay == 7.0
    assert refusals == ["inference.text-detection.one.bulk.acme"]


async def test_a_publisher_outlives_the_choice_of_a_leader(bus: Bus) -> None:
    # Without a stream nobody answers, just as without a leader; for longer than the server needs to choose one.
    info = await bus.js.stream_info(DOCUMENTS.name)
    await bus.js.delete_stream(DOCUMENTS.name)
    publishing = asyncio.create_task(_submit(bus, "doc-1"))
    await asyncio.wait({publishing}, timeout=3)
    assert not publishing.done()
    assert PATIENCE_SECONDS > 3, "publishers in production wait as long"
    await bus.js.add_stream(info.config)
    async with asyncio.timeout(60):
        assert await publishing == 1


async def test_patience_ends(bus: Bus) -> None:
    await bus.js.delete_stream(DOCUMENTS.name)
    took: list[float] = []
    # The best of several: each may be the one at which this machine stood still.
    for _ in range(3):
        started = asyncio.get_running_loop().time()
        with pytest.raises(TransientError, match="does not answer") as caught:
            await _submit(bus, "doc-1", patience=0.5)
        assert not isinstance(caught.value, BusyError)
        took.append(asyncio.get_running_loop().time() - started)
    assert min(took) < 5


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_refusal_after_silence_is_no_promise(bus: Bus, embedded_server: EmbeddedServer) -> None:
    config = (await bus.js.stream_info(DOCUMENTS.name)).config
    config.max_msgs = 1
    await bus.js.update_stream(config)
    await publish_event(bus, make_submitted("doc-1"))
    os.kill(embedded_server.pid, signal.SIGSTOP)
    try:
        # All its threads have to stop first.
        await until(lambda: _state(embedded_server.pid) == "T")
        publishing = asyncio.create_task(_submit(bus, "doc-2"))
        # Its first attempt goes unanswered; what became of it the publisher cannot know.
        await asyncio.wait({publishing}, timeout=5)
        assert not publishing.done()
    finally:
        os.kill(embedded_server.pid, signal.SIGCONT)
    async with asyncio.timeout(60):
        with pytest.raises(TransientError, match="may be stored") as caught:
            await publishing
    assert not isinstance(caught.value, BusyError)
