# pyright: reportUnknownMemberType=false
"""History sent again under a run: what is chosen, at most once, not too fast, and until all have their outcome."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.history import History
from billow.bus.publish import events, publish, publish_event
from billow.bus.replay.book import ReplayBook, TakenOverError
from billow.bus.replay.control import cancel, new_run_id, pause
from billow.bus.replay.driver import ReplayDriver
from billow.bus.replay.sending import send, under_run
from billow.bus.topology import DOCUMENTS, LAYOUT_RUNS, RUNS
from billow.runtime.errors import UsageError
from billow.schemas import codec, subjects
from billow.schemas.events import Completed, Recognized, Submitted
from billow.schemas.record import Failure
from billow.schemas.replay import ReplaySpec, ReplayState
from billow.testkit.consuming import consuming, until
from billow.testkit.events import MOMENT, make_completed, make_failed, make_recognized, make_submitted
from billow.testkit.replays import begin, drive

MODELS = {"token-classification": "new_2-0-0"}


def make_spec(**changes: object) -> ReplaySpec:
    now = datetime.now(UTC)
    spec = ReplaySpec(run_id=new_run_id(), start="recognized", until=now, created_at=now, models=MODELS)
    return msgspec.structs.replace(spec, **changes)


def unthrottled(spec: ReplaySpec) -> ReplaySpec:
    return msgspec.structs.replace(spec, rate=0.0)


@contextlib.asynccontextmanager
async def answering(bus: Bus, only: Callable[[], bool] = lambda: True) -> AsyncGenerator[list[Recognized]]:
    """A service that completes each document of a run, as long as `only` says so."""
    seen: list[Recognized] = []

    async def complete(delivery: Delivery) -> None:
        event = delivery.event(Recognized)
        seen.append(event)
        while not only():
            await asyncio.sleep(0.01)
        await publish_event(bus, make_completed(event.document_id, tenant=event.tenant, run_id=event.run_id))

    async with consuming(bus, complete, LAYOUT_RUNS, concurrency=64):
        yield seen


async def in_runs(bus: Bus, name: str = "recognized") -> list[str]:
    found = [batch async for batch in History(bus, RUNS.name).batches(f"runs.*.*.{name}.*")]
    return [stored.subject.rpartition(".")[2] for batch in found for stored in batch]


async def fill(bus: Bus, count: int, **changes: object) -> None:
    for number in range(count):
        await publish_event(bus, make_recognized(f"doc-{number}", **changes))  # pyright: ignore[reportArgumentType]


async def test_an_event_is_sent_as_it_was_but_for_run_lane_deadline_and_models(bus: Bus) -> None:
    event = make_recognized("doc-1", deadline=MOMENT + timedelta(days=1), revision=3, kind="receipt")
    await publish_event(bus, event)
    spec = make_spec()
    async with answering(bus) as seen:
        await drive(bus, spec)
    assert seen == [
        msgspec.structs.replace(
            event,
            run_id=spec.run_id,
            event_id=f"{spec.run_id}.doc-1.3.recognized",
            deadline=None,
            asked=MODELS,
            origin=msgspec.structs.replace(event.origin, lane="bulk"),
        )
    ]
    assert seen[0].origin.submitted_at == MOMENT


@pytest.mark.parametrize("content_type", [codec.JSON, codec.MSGPACK])
async def test_a_submission_in_either_format_becomes_one_of_the_run(bus: Bus, content_type: codec.ContentType) -> None:
    event = make_submitted("doc-1", deadline=MOMENT)
    data, fields = codec.encode(event, content_type), {headers.CONTENT_TYPE: content_type}
    subject = subjects.document("default", "submitted", "doc-1")
    await publish(bus, subject, data, message_id=None, stream=DOCUMENTS.name, extra=fields)
    spec = make_spec(start="submitted")
    (batch,) = [batch async for batch in History(bus).batches("documents.*.submitted.*")]
    await send(bus, [under_run(batch[0], spec)])
    (sent,) = [event async for event in events(bus, Submitted, "default", "doc-1", spec.run_id)]
    identity = f"{spec.run_id}.doc-1.1.submitted"
    assert sent == msgspec.structs.replace(
        event, run_id=spec.run_id, event_id=identity, deadline=None, asked=MODELS, lane="bulk"
    )


async def test_the_newest_revision_in_the_range_counts_and_cancelled_documents_do_not(bus: Bus) -> None:
    await publish_event(bus, make_recognized("twice"))
    await publish_event(bus, make_recognized("twice", revision=2))
    await publish_event(bus, make_recognized("taken-back"))
    cancelled = Failure(code="cancelled", message="It was cancelled.")
    await publish_event(bus, make_failed("taken-back", status="cancelled", error=cancelled))
    await publish_event(bus, make_recognized("failed"))
    await publish_event(bus, make_failed("failed"))
    until_ = datetime.now(UTC)
    await publish_event(bus, make_recognized("failed", revision=2))
    await publish_event(bus, make_recognized("too-late"))
    await publish(bus, "documents.default.recognized.broken", b"{", message_id=None, stream=DOCUMENTS.name, extra={})
    async with answering(bus) as seen:
        state = await drive(bus, make_spec(until=until_))
        assert sorted((event.document_id, event.revision) for event in seen) == [("failed", 1), ("twice", 2)]
        assert (state.status, state.planned, state.sent, state.completed) == ("finished", 2, 2, 2)
        assert state.left_out == {"older revision": 1, "cancelled": 1}
        state = await drive(bus, make_spec(run_id="later", since=until_))
        assert sorted(event.document_id for event in seen[2:]) == ["failed", "too-late"]
        assert state.left_out == {"unreadable": 1}


async def test_tenant_kind_and_documents_narrow_the_choice(bus: Bus) -> None:
    for tenant in ("a", "b"):
        for document in ("one", "two", "three"):
            await publish_event(bus, make_recognized(document, tenant=tenant, event_id=f"{tenant}.{document}"))
    for document, kind in (("one", "receipt"), ("two", "invoice"), ("three", "receipt")):
        done = make_completed(document, tenant="a")
        await publish_event(bus, msgspec.structs.replace(done, record=msgspec.structs.replace(done.record, kind=kind)))
    async with answering(bus) as seen:
        state = await drive(bus, make_spec(tenant="a", kind="receipt", documents=("one", "two")))
    assert [(event.tenant, event.document_id) for event in seen] == [("a", "one")]
    assert state.left_out == {"other kind": 1}


async def test_documents_of_the_same_name_of_two_tenants_are_two(bus: Bus) -> None:
    for tenant in ("a", "b"):
        await publish_event(bus, make_recognized("one", tenant=tenant, event_id=f"{tenant}.one"))
    driving = asyncio.create_task(drive(bus, make_spec()))

    async def both() -> bool:
        return await in_runs(bus) == ["one", "one"]

    await until(both)
    driving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await driving


async def test_twice_sends_nothing_twice_also_after_the_duplicate_window(bus: Bus) -> None:
    config = (await bus.js.stream_info(RUNS.name)).config
    config.duplicate_window = 0.1
    await bus.js.update_stream(config)
    await fill(bus, 100)
    spec = make_spec()
    async with answering(bus) as seen:
        await drive(bus, spec)
        first = await in_runs(bus)
        # Its driver died before it could say that it was finished, and knows nothing of what it sent.
        book = ReplayBook(bus)
        run = await book.get(spec.run_id)
        await book.write(run, ReplayState(status="running", updated_at=MOMENT))
        await asyncio.sleep(0.2)
        state = await drive(bus, spec)
        assert (state.status, state.sent, state.completed) == ("finished", 100, 100)
        (batch,) = [batch async for batch in History(bus).batches("documents.*.recognized.*")]
        # And if two drivers meet.
        sent = await send(bus, [under_run(stored, spec) for stored in batch])
        assert (sent.stored, sent.known, sent.refused) == (0, 100, ())
    assert await in_runs(bus) == first and len(first) == len(seen) == 100


async def test_a_driver_that_breaks_off_is_followed_by_one_that_sends_the_rest(bus: Bus) -> None:
    await fill(bus, 120)
    # Six seconds, so that there is a rest after one.
    spec = make_spec(rate=20.0)
    run = await begin(bus, spec)
    async with answering(bus) as seen:
        first = asyncio.create_task(ReplayDriver(bus, run, driver="first").drive())
        await until(lambda: len(seen) >= 20)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        book = ReplayBook(bus)
        run = await book.get(spec.run_id)
        assert run.state.status == "paused" and 20 <= run.state.sent < 120
        assert len(await in_runs(bus)) < 120
        state = await ReplayDriver(bus, run._replace(spec=unthrottled(run.spec)), driver="second").drive()
    assert (state.status, state.sent, state.completed) == ("finished", 120, 120)
    assert sorted(await in_runs(bus)) == sorted(f"doc-{number}" for number in range(120))
    assert len(seen) == 120


async def test_never_more_are_on_their_way_than_allowed(bus: Bus) -> None:
    await fill(bus, 200)
    stopped = True
    async with answering(bus, lambda: not stopped) as seen:
        driving = asyncio.create_task(drive(bus, make_spec(in_flight=70)))
        await until(lambda: len(seen) >= 64)
        # Time in which it could send more, if it did.
        await asyncio.sleep(0.3)
        assert len(await in_runs(bus)) <= 70
        stopped = False
        state = await driving
    assert state.completed == 200


async def test_the_rate_is_kept(bus: Bus) -> None:
    await fill(bus, 60)
    async with answering(bus):
        started = time.monotonic()
        await drive(bus, make_spec(rate=40.0))
    assert 60 / (time.monotonic() - started) < 44


async def test_it_is_paused_from_elsewhere_and_goes_on(bus: Bus) -> None:
    await fill(bus, 100)
    # Ten seconds, so that the order comes in between.
    spec = make_spec(rate=10.0)
    async with answering(bus) as seen:
        driving = asyncio.create_task(drive(bus, spec))
        await until(lambda: len(seen) >= 5)
        assert await pause(bus, spec.run_id)
        state = await driving
        assert state.status == "paused" and 5 <= state.sent < 100
        assert not await pause(bus, spec.run_id)
        # Nothing more comes.
        await asyncio.sleep(0.3)
        assert len(await in_runs(bus)) == state.sent
        run = await ReplayBook(bus).get(spec.run_id)
        state = await ReplayDriver(bus, run._replace(spec=unthrottled(spec)), driver="again").drive()
    assert (state.status, state.completed, len(seen)) == ("finished", 100, 100)


async def test_cancelling_takes_out_what_nobody_has_begun(bus: Bus) -> None:
    await fill(bus, 50)
    spec = make_spec()
    driving = asyncio.create_task(drive(bus, spec))

    async def all_sent() -> bool:
        return len(await in_runs(bus)) == 50

    await until(all_sent)
    assert await cancel(bus, spec.run_id) == 50
    state = await driving
    assert (state.status, state.completed) == ("cancelled", 0)
    assert await in_runs(bus) == []
    async with answering(bus) as seen:
        await publish_event(bus, make_recognized("doc-x", run_id="other"))
        await until(lambda: [event.document_id for event in seen] == ["doc-x"])


async def test_a_finished_run_is_not_cancelled_and_an_unknown_one_is_named(bus: Bus) -> None:
    async with answering(bus):
        state = await drive(bus, make_spec(run_id="empty"))
    assert (state.status, state.planned) == ("finished", 0)
    with pytest.raises(UsageError, match="finished"):
        await cancel(bus, "empty")
    with pytest.raises(UsageError, match="no run 'nope'"):
        await pause(bus, "nope")


async def test_documents_that_never_get_an_outcome_do_not_hold_it_up(bus: Bus) -> None:
    await fill(bus, 3)

    async def drop_one(delivery: Delivery) -> None:
        event = delivery.event(Recognized)
        if event.document_id != "doc-1":
            await publish_event(bus, make_completed(event.document_id, run_id=event.run_id))

    async with consuming(bus, drop_one, LAYOUT_RUNS):
        state = await drive(bus, make_spec())
    assert (state.status, state.completed, state.unanswered) == ("finished", 2, 1)


async def test_who_takes_a_run_over_ends_the_other(bus: Bus) -> None:
    await fill(bus, 200)
    # Ten seconds, so that it is not through when it is taken over.
    spec = make_spec(rate=20.0)
    run = await begin(bus, spec)
    async with answering(bus) as seen:
        first = asyncio.create_task(ReplayDriver(bus, run, driver="first").drive())
        await until(lambda: len(seen) >= 5)
        now = await ReplayBook(bus).get(spec.run_id)
        state = await ReplayDriver(bus, now._replace(spec=unthrottled(now.spec)), driver="second").drive()
        with pytest.raises(TakenOverError):
            await first
    assert (state.status, state.completed) == ("finished", 200)
    assert len(await in_runs(bus)) == len(seen) == 200


async def test_a_run_id_names_one_request(bus: Bus) -> None:
    spec = make_spec(run_id="mine")
    await begin(bus, spec)
    later = spec.created_at + timedelta(hours=1)
    again = await begin(bus, msgspec.structs.replace(spec, created_at=later, until=later))
    assert again.spec.until == spec.until
    with pytest.raises(UsageError, match="another run 'mine'"):
        await begin(bus, msgspec.structs.replace(spec, tenant="acme"))
    with pytest.raises(UsageError, match="named by"):
        await begin(bus, msgspec.structs.replace(spec, run_id="x" * 60))


async def test_failed_documents_are_counted_once(bus: Bus) -> None:
    await fill(bus, 2)

    async def fail(delivery: Delivery) -> None:
        event = delivery.event(Recognized)
        await publish_event(bus, make_failed(event.document_id, run_id=event.run_id))
        if event.document_id == "doc-0":
            await publish_event(bus, make_completed(event.document_id, run_id=event.run_id))

    async with consuming(bus, fail, LAYOUT_RUNS):
        spec = make_spec()
        await drive(bus, spec)

        async def both() -> bool:
            return [event async for event in events(bus, Completed, "default", "doc-0", spec.run_id)] != []

        await until(both)
        state = await ReplayDriver(bus, await ReplayBook(bus).get(spec.run_id), driver="again").drive()
    assert (state.completed, state.failed) == (1, 1)
