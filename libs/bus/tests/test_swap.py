"""One model takes over from another while callers go on asking."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.presence import Announcer
from billow.bus.routes import RouteBook
from billow.bus.swap import Swap, swapped
from billow.bus.swap_watch import SwapObserver
from billow.bus.work import WorkQueue
from billow.runtime.errors import TransientError, UsageError
from billow.schemas.inference import Detections, DetectText, InferenceResult
from billow.schemas.presence import ModelPresence
from billow.schemas.routing import Route, Rule
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted

OLD, NEW = "fake-det_1-0-0", "fake-det_2-0-0"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@contextlib.asynccontextmanager
async def serving(bus: Bus, model: str, *, answers: int = 1) -> AsyncGenerator[None]:
    """A worker that announces itself and answers each request so many times."""
    queue = WorkQueue(bus, task="text-detection", model=model, max_batch=4, max_wait_ms=0)
    presence = ModelPresence(model=model, worker="w1", task="text-detection", version="1.0.0", started_at=NOW)
    announcer = Announcer(bus, lambda: presence)
    await queue.start()
    await announcer.start()

    async def loop() -> None:
        while batch := await queue.take():
            for item in batch:
                output = Detections(quads=(), scores=())
                for _ in range(answers):
                    result = InferenceResult(request_id=item.work.request_id, model=model, output=output, run_ms=1)
                    await queue.answer(item, result)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        await announcer.stop()
        await queue.stop()
        await task
        queue.close()


@contextlib.asynccontextmanager
async def asking(bus: Bus, callers: int = 4) -> AsyncGenerator[list[str]]:
    """Callers that ask one document after the other; yields the models that answered, in order."""
    answered: list[str] = []
    stopping = asyncio.Event()

    async def caller(client: InferenceClient, number: int) -> None:
        count = 0
        while not stopping.is_set():
            event = make_submitted(f"doc-{number}-{count}")
            payload = DetectText(image=b"x%d" % count)
            result = await client.call(
                event, payload, task="text-detection", model=OLD, lane="interactive", again=False
            )
            answered.append(result.model)
            count += 1

    async with InferenceClient(bus) as client, asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(client, number))
        try:
            yield answered
        finally:
            stopping.set()


async def test_the_new_model_takes_over_and_nothing_is_lost_or_doubled(bus: Bus) -> None:
    steps: list[str] = []
    async with serving(bus, OLD), serving(bus, NEW), asking(bus) as answered:
        # Long enough for answers in each phase, also on a machine that stands still for two seconds.
        report = await Swap(bus, "text-detection", OLD, NEW, watch=2.5).run(steps.append, by="me@here")
        await until(lambda: answered[-4:] == [NEW] * 4)
    assert (report.lost, report.doubled, report.failed) == (0, 0, 0)
    assert report.clean
    assert report.requests >= sum(latency.requests for latency in report.latency.values()) > 20
    assert all(report.latency[phase].requests > 0 for phase in ("before", "during", "after"))
    assert report.latency["after"].p95_ms >= report.latency["after"].p50_ms > 0
    assert answered[0] == OLD
    # Once the new one answers, the old one has at most what was under way.
    assert answered[answered.index(NEW) + 8 :].count(OLD) == 0
    assert [step.split()[0] for step in steps] == ["waiting", "watching", "sending", "watching"]
    current = await RouteBook(bus).get("text-detection")
    assert current is not None and current.route is not None
    assert (current.version, current.route.default, current.route.changed_by) == (report.version, NEW, "me@here")


async def test_without_a_warm_worker_nothing_is_changed(bus: Bus) -> None:
    async with serving(bus, OLD):
        with pytest.raises(TransientError, match="billow worker fake-det_2-0-0"):
            await Swap(bus, "text-detection", OLD, NEW, watch=0, timeout=0.2).run()
    assert await RouteBook(bus).get("text-detection") is None


async def test_callers_whose_model_nobody_serves_move_over_with_the_route(bus: Bus) -> None:
    async with serving(bus, NEW), InferenceClient(bus, wait=30) as client:
        swap = asyncio.create_task(Swap(bus, "text-detection", OLD, NEW, watch=0.3, timeout=30).run())
        payload = DetectText(image=b"x")
        call = asyncio.create_task(
            client.call(make_submitted("d"), payload, task="text-detection", model=OLD, lane="interactive", again=False)
        )
        # So the old one is drained all the same.
        assert (await call).model == NEW
        report = await swap
    assert report.lost == 0


async def test_an_answer_that_comes_twice_is_counted(bus: Bus) -> None:
    observer = SwapObserver(bus, "text-detection", OLD, NEW)
    async with serving(bus, OLD, answers=2), InferenceClient(bus) as client:
        await observer.start()
        payload = DetectText(image=b"x")
        await client.call(
            make_submitted("d"), payload, task="text-detection", model=OLD, lane="interactive", again=False
        )
        async with asyncio.timeout(60):
            while observer.report(version=1, drain_s=0).doubled == 0:
                await asyncio.sleep(0.01)
        await observer.stop()
    report = observer.report(version=1, drain_s=0)
    assert (report.requests, report.lost, report.doubled, report.clean) == (1, 0, 1, False)


async def test_work_without_an_answer_is_lost_and_queued_work_without_a_worker_is_a_gap(bus: Bus) -> None:
    observer = SwapObserver(bus, "text-detection", OLD, NEW)
    async with serving(bus, OLD):
        pass  # leaves its consumers behind, as a worker does that was stopped
    await observer.start()
    async with InferenceClient(bus, wait=0.5) as client:
        with pytest.raises(TransientError):
            await client.call(
                make_submitted("d"),
                DetectText(image=b"x"),
                task="text-detection",
                model=OLD,
                lane="interactive",
                again=False,
            )
    # The work lies there still, and the observer has seen it.
    await until(lambda: observer.report(version=1, drain_s=0).longest_gap_ms > 100)
    await observer.stop()
    report = observer.report(version=1, drain_s=0)
    assert (report.requests, report.lost, report.clean) == (1, 1, False)


def test_the_new_model_stands_wherever_the_old_one_worked() -> None:
    route = Route(
        task="text-detection",
        default=OLD,
        weights={"other": 0.25, NEW: 0.1},
        shadows=(NEW, "third"),
        fallback=NEW,
        rules=(Rule(model=OLD, language="vi"), Rule(model="other", tenant="t")),
        changed_at=NOW,
    )
    after = swapped(route, "text-detection", OLD, NEW, by="me")
    assert after.default == NEW
    assert after.weights == {"other": 0.25}
    assert after.shadows == ("third",)
    assert after.fallback is None
    assert [rule.model for rule in after.rules] == [NEW, "other"]
    assert after.changed_by == "me" and OLD in after.note


def test_a_canary_hands_its_share_over() -> None:
    route = Route(task="text-detection", default="main", weights={OLD: 0.2, NEW: 0.1}, changed_at=NOW)
    assert swapped(route, "text-detection", OLD, NEW).weights == {NEW: pytest.approx(0.3)}


def test_a_model_that_the_route_does_not_use_cannot_be_swapped() -> None:
    route = Route(task="text-detection", default="main", shadows=(OLD,), changed_at=NOW)
    with pytest.raises(UsageError, match="main"):
        swapped(route, "text-detection", OLD, NEW)


async def test_a_model_cannot_take_over_from_itself(bus: Bus) -> None:
    with pytest.raises(UsageError):
        Swap(bus, "text-detection", OLD, OLD)
