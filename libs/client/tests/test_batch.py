"""Many documents with few at a time, on a real server; the test says the outcomes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.publish import publish_event
from billow.bus.tenants import set_policy
from billow.client import BatchProgress, BatchResult, Billow, BusyError
from billow.client.batch import Batch, Patiently
from billow.client.submission import document_id_of
from billow.schemas.events import Submitted
from billow.schemas.record import Record
from billow.schemas.tenants import TenantPolicy
from billow.testkit.consuming import until
from billow.testkit.events import make_completed, make_failed, make_record
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def answering(nats_server: NatsServer, bus: Bus) -> AsyncIterator[list[int]]:
    """Ends every document at once, those called `bad` with a failure; gives how many there were at a time."""
    at_once = [0]
    async with Billow(nats_server.url) as ears:

        async def answer(event: Submitted) -> None:
            made = make_failed if event.source.endswith("bad.jpg") else make_completed
            await asyncio.sleep(0.02)
            # Before it is said: whoever hears that it ended may begin the next before we know that it is stored.
            at_once[0] -= 1
            await publish_event(bus, made(event.document_id))

        async def listen() -> None:
            async with asyncio.TaskGroup() as group:
                # From the beginning: what is submitted before it listens counts too.
                async for event in ears.events(kinds=["submitted"], since=timedelta(hours=1)):
                    assert isinstance(event, Submitted)
                    at_once[0] += 1
                    at_once.append(at_once[0])
                    group.create_task(answer(event))

        listening = asyncio.create_task(listen())
        yield at_once
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def test_results_come_as_they_are_ready_and_one_failure_does_not_end_the_others(
    billow: Billow, answering: list[int], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(20)] + [tmp_path / "bad.jpg"]
    for path in paths:
        path.write_bytes(path.name.encode())
    paths.insert(3, tmp_path / "missing.jpg")
    taken: list[Path] = []
    seen: list[BatchProgress] = []

    def reading() -> Iterator[Path]:
        for path in paths:
            taken.append(path)
            yield path

    results: list[BatchResult[Path]] = []
    async with asyncio.timeout(60):
        async for result in billow.batch(reading(), concurrency=4, on_progress=seen.append):
            results.append(result)
            # No more is read ahead than there is room for.
            assert len(taken) <= len(results) + 4
    assert {result.index: result.document for result in results} == dict(enumerate(paths))
    completed = {result.document for result in results if result.completed}
    assert completed == set(paths) - {tmp_path / "missing.jpg", tmp_path / "bad.jpg"}
    errors = [result.error for result in results if result.error is not None]
    assert [type(error) for error in errors] == [FileNotFoundError]
    assert max(answering) <= 4
    last = seen[-1]
    assert (last.begun, last.completed, last.failed, last.in_hand) == (22, 20, 2, 0)
    assert max(progress.in_hand for progress in seen) == 4


async def test_a_batch_with_keys_that_is_run_again_works_nothing_out_twice(
    billow: Billow, answering: list[int]
) -> None:
    async def documents() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"photo %d" % number

    for _ in range(2):
        results = [
            result async for result in billow.batch(documents(), idempotency_key=lambda data: data.decode(), timeout=60)
        ]
        ids = {result.record.document_id for result in results if result.record}
        assert ids == {document_id_of("default", f"photo {number}") for number in range(5)}
    submitted = [event async for event in billow.events(kinds=["submitted"], follow=False)]
    assert len(submitted) == 5


async def test_a_busy_system_is_waited_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billow.client.batch.LONGEST_PAUSE", 0.2)
    tries: dict[int, int] = {}
    times: list[float] = []

    async def extract(number: int, patiently: Patiently) -> Record:
        async def submit() -> None:
            tries[number] = tries.get(number, 0) + 1
            times.append(asyncio.get_running_loop().time())
            if tries[number] <= 3:
                raise BusyError("full", delay=7)

        await patiently(submit)
        return make_record(f"doc-{number}")

    seen: list[BatchProgress] = []
    results = [result async for result in Batch(extract, concurrency=1, on_progress=seen.append).run([1, 2])]
    assert [result.completed for result in results] == [True, True]
    assert tries == {1: 4, 2: 4}
    assert seen[-1].waits == 6
    # It did wait, and not the seven seconds that are more than the cap.
    assert 6 * 0.2 <= times[-1] - times[0] < 6 * 7


async def test_a_tenant_over_its_rate_is_told_when_to_come_again_and_a_batch_waits_for_it(
    billow: Billow, bus: Bus, answering: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billow.client.batch.LONGEST_PAUSE", 0.2)
    # So slow that none is due again while the test runs, however long it takes.
    await set_policy(bus, "default", TenantPolicy(rate=0.01, burst=1))
    await billow.submit(b"first", idempotency_key="first")
    with pytest.raises(BusyError) as caught:
        await billow.submit(b"second")
    assert caught.value.delay > 0
    # What was accepted before is not counted again.
    await billow.submit(b"first", idempotency_key="first")
    seen: list[BatchProgress] = []
    batch = billow.batch([b"one", b"two"], on_progress=seen.append, timeout=60)

    async def completed() -> list[bool]:
        return [result.completed async for result in batch]

    running = asyncio.create_task(completed())
    await until(lambda: bool(seen) and seen[-1].waits >= 2)
    assert not running.done()
    # The 100 s that the first one cost are 100 documents now: there is one more at once, and one a second later.
    await set_policy(bus, "default", TenantPolicy(rate=1, burst=101))
    async with asyncio.timeout(60):
        assert await running == [True, True]


async def test_ending_early_leaves_nothing_running(billow: Billow) -> None:
    with pytest.raises(TimeoutError):
        await billow.extract(b"first", timeout=0.1)  # what the connection keeps for itself is there from now on
    before = asyncio.all_tasks()
    # What is left running does not end by itself while the test waits.
    results = billow.batch([b"one", b"two"], timeout=600)
    waiting = asyncio.ensure_future(anext(results))

    async def all_handed_in() -> bool:
        return len([event async for event in billow.events(kinds=["submitted"], follow=False)]) == 3

    await until(all_handed_in)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await results.aclose()
    # The look at the backlog, once a second at most, may be a new one; it ends by itself.
    await until(lambda: asyncio.all_tasks() <= before)


async def test_at_least_one_at_a_time(billow: Billow) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        await anext(billow.batch([b"x"], concurrency=0))
