# pyright: reportUnknownMemberType=false
"""What a handler is spared, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from nats.aio.client import Client

from billow.bus.connection import Bus
from billow.bus.guard import Guard, guarding
from billow.bus.publish import publish_event
from billow.bus.topology import OCR
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.events import Event, Recognized, Submitted
from billow.testkit.consuming import until
from billow.testkit.events import make_cancelled, make_recognized, make_submitted


class Waiting:
    """Stands for the model that a document waits for."""

    def __init__(self) -> None:
        self.silent = False
        self.forgotten: list[str] = []

    async def still_waiting(self, event: Event) -> None:
        if self.silent:
            raise TransientError(f"the model of {event.document_id} is silent")

    async def forget(self, event: Event) -> None:
        self.forgotten.append(event.document_id)


class Work:
    """Work that can be made to last for ever, and tells how it ended."""

    def __init__(self) -> None:
        self.lasts = False
        self.log: list[tuple[str, bool]] = []
        self.error: Exception | None = None

    async def __call__(self, event: Submitted, again: bool) -> None:
        self.log.append((event.document_id, again))
        if self.error is not None:
            raise self.error
        if self.lasts:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log.append(("stopped", again))
                raise


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest_asyncio.fixture
async def guard(bus: Bus, waiting: Waiting) -> AsyncIterator[Guard]:
    async with guarding(bus, OCR, Recognized, waiting) as made:
        yield made


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_a_document_that_somebody_waits_for_is_worked_on(guard: Guard, work: Work) -> None:
    await guard.run(make_submitted("doc-1"), work, again=False)
    await guard.run(make_submitted("doc-1", deadline=soon(600)), work, again=True)
    assert work.log == [("doc-1", False), ("doc-1", True)]


async def test_what_was_stated_before_is_not_worked_on_again(bus: Bus, guard: Guard, work: Work) -> None:
    await publish_event(bus, make_recognized("doc-1"))
    await guard.run(make_submitted("doc-1", deadline=soon(-1)), work, again=True)
    assert work.log == []


async def test_a_document_cancelled_before_is_not_worked_on(
    bus: Bus, guard: Guard, work: Work, waiting: Waiting
) -> None:
    await publish_event(bus, make_cancelled("doc-1"))
    waiting.silent = True
    # Submitted before the guard was there, so that it has to ask.
    await guard.run(make_submitted("doc-1"), work, again=False)
    await guard.run(make_submitted("doc-1", occurred_at=soon(60)), work, again=True)
    assert work.log == []
    assert waiting.forgotten == ["doc-1", "doc-1"]
    with pytest.raises(TransientError):
        await guard.run(make_submitted("doc-2"), work, again=True)
    await guard.run(make_submitted("doc-1", revision=2), work, again=False)
    assert work.log == [("doc-1", False)]


async def test_work_is_stopped_when_its_document_is_cancelled(guard: Guard, work: Work, stock: Client) -> None:
    work.lasts = True
    running = asyncio.create_task(guard.run(make_submitted("doc-1"), work, again=False))
    other = asyncio.create_task(guard.run(make_submitted("doc-2"), work, again=False))
    await until(lambda: len(work.log) == 2)
    await stock.publish("cancelled.default.doc-1", codec.encode(make_cancelled("doc-1")))
    await asyncio.wait_for(running, 60)
    assert work.log[2:] == [("stopped", False)]
    assert not other.done()
    other.cancel()
    # Being told to stop is not taken for a cancelled document.
    with pytest.raises(asyncio.CancelledError):
        await other


@pytest.mark.parametrize("seconds", [-1.0, 0.3])
async def test_a_deadline_ends_work_before_or_while_it_is_done(guard: Guard, work: Work, seconds: float) -> None:
    work.lasts = True
    with pytest.raises(PermanentError, match="Submit it again with a later one") as caught:
        await asyncio.wait_for(guard.run(make_submitted("doc-1", deadline=soon(seconds)), work, again=False), 60)
    assert (caught.value.code, caught.value.retryable) == ("deadline_exceeded", True)


@pytest.mark.parametrize("error", [TimeoutError("the disk"), PermanentError("It is broken.", code="broken")])
async def test_what_goes_wrong_in_the_work_comes_out(guard: Guard, work: Work, error: Exception) -> None:
    work.error = error
    with pytest.raises(type(error), match=str(error)):
        await guard.run(make_submitted("doc-1", deadline=soon(600)), work, again=False)


async def test_a_worker_that_heard_of_it_first_is_believed_if_it_is_true(bus: Bus, guard: Guard, work: Work) -> None:
    work.error = PermanentError("The document was cancelled.", code="cancelled")
    event = make_submitted("doc-1", occurred_at=soon(60))
    with pytest.raises(PermanentError):
        await guard.run(event, work, again=False)
    await publish_event(bus, make_cancelled("doc-1"))
    await guard.run(event, work, again=False)


async def test_a_guard_that_is_left_listens_no_more(bus: Bus, waiting: Waiting) -> None:
    async with guarding(bus, OCR, Recognized, waiting):
        pass
    before = _subscriptions(bus)
    async with guarding(bus, OCR, Recognized, waiting):
        assert _subscriptions(bus) == before + 1
    assert _subscriptions(bus) == before


def _subscriptions(bus: Bus) -> int:
    return len(bus.client._subs)  # pyright: ignore[reportPrivateUsage]
