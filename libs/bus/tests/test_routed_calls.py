# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Calls that follow routes, with workers that answer by hand, on a real server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from billow.bus import shadows
from billow.bus.asking import Desk, Question
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.inference import InferenceClient
from billow.bus.presence import Announcer
from billow.bus.routes import RouteBook
from billow.bus.shadows import comparisons
from billow.bus.topology import INFERENCE, SHADOWS
from billow.bus.work import WorkItem, WorkQueue
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.inference import InferenceResult, Recognitions, RecognizeCrops
from billow.schemas.labels import Lane
from billow.schemas.presence import ModelPresence
from billow.schemas.record import Failure
from billow.schemas.routing import Comparison, Route, Rule, choose
from billow.testkit.consuming import until
from billow.testkit.events import MOMENT, make_submitted

TASK = "text-recognition"
SETTING, OLD, NEW = "setting_1-0-0", "old_1-0-0", "new_2-0-0"
ROUTE = Route(task=TASK, default=OLD, changed_at=MOMENT)


class Worker:
    """Answers every request with its own name, once `gate` is open."""

    def __init__(self, bus: Bus, model: str, texts: tuple[str, ...], error: Failure | None) -> None:
        self.bus = bus
        self.model = model
        self.texts = texts
        self.error = error
        self.taken: list[WorkItem] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, queue: WorkQueue) -> None:
        while batch := await queue.take():
            self.taken += batch
            await self.gate.wait()
            for item in batch:
                output = None if self.error else Recognitions(texts=self.texts, confidences=(0.9,) * len(self.texts))
                await queue.answer(
                    item,
                    InferenceResult(
                        request_id=item.work.request_id, model=self.model, output=output, error=self.error, run_ms=4
                    ),
                )

    def presence(self) -> ModelPresence:
        return ModelPresence(model=self.model, worker="w", task=TASK, version="1.0.0", started_at=MOMENT)


@contextlib.asynccontextmanager
async def serving(
    bus: Bus, model: str, *, texts: tuple[str, ...] = ("a", "b"), error: Failure | None = None, announced: bool = False
) -> AsyncGenerator[Worker]:
    worker = Worker(bus, model, texts, error)
    queue = WorkQueue(bus, task=TASK, model=model, max_batch=8, max_wait_ms=0)
    announcer = Announcer(bus, worker.presence)
    if announced:
        await announcer.start()
    await queue.start()
    running = asyncio.create_task(worker.run(queue))
    try:
        yield worker
    finally:
        worker.gate.set()
        await queue.stop()
        await running
        queue.close()
        await announcer.stop()


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[InferenceClient]:
    async with InferenceClient(bus, wait=60) as ours:
        yield ours


async def ask(client: InferenceClient, name: str = "doc-1", *, again: bool = False, **about: Any) -> InferenceResult:
    lane: Lane = "interactive"
    return await client.call(
        make_submitted(name, **about),
        RecognizeCrops(crops=(b"1", b"2")),
        task=TASK,
        model=SETTING,
        lane=lane,
        again=again,
    )


async def ask_until_answered(client: InferenceClient, name: str = "doc-1") -> InferenceResult:
    """As a service does with a document that was delivered before: who gave up comes again."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TransientError):
                return await ask(client, name, again=True)
            await asyncio.sleep(0.01)


async def set_route(bus: Bus, client: InferenceClient, expected: int = 0, **changes: Any) -> int:
    """Change the route, and wait until the client has heard of it; returns its version."""
    changed = client._routes.change()  # pyright: ignore[reportPrivateUsage]
    version = await RouteBook(bus).put(msgspec.structs.replace(ROUTE, **changes), expected=expected)
    async with asyncio.timeout(60):
        await changed
    return version


async def queued(bus: Bus, model: str) -> int:
    info = await bus.js.stream_info(INFERENCE.name, subjects_filter=f"inference.*.{model}.>")
    return sum((info.state.subjects or {}).values())


async def queue_is(bus: Bus, model: str, count: int) -> None:
    async with asyncio.timeout(60):
        while await queued(bus, model) != count:
            await asyncio.sleep(0.01)


async def compared(bus: Bus, count: int) -> list[Comparison]:
    async with asyncio.timeout(60):
        while (await bus.js.stream_info(SHADOWS.name)).state.messages < count:
            await asyncio.sleep(0.01)
    return [comparison async for comparison in comparisons(bus, TASK)]


async def test_without_a_route_the_setting_counts(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, SETTING):
        assert (await ask(client)).model == SETTING


async def test_a_change_acts_on_the_next_call_of_a_running_client(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, SETTING), serving(bus, OLD), serving(bus, NEW):
        assert (await ask(client, "doc-1")).model == SETTING
        version = await set_route(bus, client)
        assert (await ask(client, "doc-2")).model == OLD
        await set_route(bus, client, version, default=NEW)
        assert (await ask(client, "doc-3")).model == NEW


async def test_a_change_acts_also_after_a_restart_of_the_server(
    bus: Bus, client: InferenceClient, embedded_server: EmbeddedServer
) -> None:
    async with serving(bus, OLD), serving(bus, NEW):
        version = await set_route(bus, client)
        assert (await ask(client, "doc-1")).model == OLD
        await embedded_server.kill()
        await embedded_server.restart()
        assert (await ask(client, "doc-2")).model == OLD
        await set_route(bus, client, version, default=NEW)
        assert (await ask(client, "doc-3")).model == NEW


async def test_what_a_replay_asks_for_wins_over_the_route(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, SETTING), serving(bus, OLD), serving(bus, NEW):
        await set_route(bus, client)
        assert (await ask(client, "doc-1", asked={TASK: NEW})).model == NEW
        assert (await ask(client, "doc-1", asked={"another-task": NEW})).model == OLD


async def test_documents_keep_to_their_side_of_a_canary(bus: Bus, client: InferenceClient) -> None:
    route = msgspec.structs.replace(ROUTE, weights={NEW: 0.4})
    async with serving(bus, OLD) as old, serving(bus, NEW) as new:
        await set_route(bus, client, weights={NEW: 0.4})
        names = [f"doc-{n}" for n in range(20)]
        for _ in range(2):
            for name in names:
                wanted = choose(route, tenant="default", document_id=name, kind=None, language=None).model
                assert (await ask(client, name)).model == wanted
    sides = [{item.work.document_id for item in worker.taken} for worker in (old, new)]
    assert sides[0] | sides[1] == set(names)
    assert not sides[0] & sides[1]
    assert sides[1]


async def test_selectors_look_at_tenant_kind_and_language(bus: Bus, client: InferenceClient) -> None:
    rules = (
        Rule(model="vi_1-0-0", language="vi"),
        Rule(model="acme_1-0-0", tenant="acme"),
        Rule(model="invoices_1-0-0", kind="invoice"),
    )
    async with contextlib.AsyncExitStack() as stack:
        for model in (OLD, *(rule.model for rule in rules)):
            await stack.enter_async_context(serving(bus, model))
        await set_route(bus, client, rules=rules)
        assert (await ask(client, language="vi", tenant="acme")).model == "vi_1-0-0"
        assert (await ask(client, tenant="acme")).model == "acme_1-0-0"
        assert (await ask(client, kind="invoice")).model == "invoices_1-0-0"
        assert (await ask(client, kind="receipt", language="en")).model == OLD


async def test_a_route_to_nobody_waits_and_its_message_says_who_is_missing(bus: Bus) -> None:
    async with InferenceClient(bus, wait=0.3, retry_delay=3) as client:
        await set_route(bus, client)
        with pytest.raises(TransientError, match=f"billow worker {OLD}") as caught:
            await ask(client)
        assert caught.value.delay == 3
        assert await queued(bus, OLD) == 1
        async with serving(bus, OLD):
            assert (await ask_until_answered(client)).model == OLD


async def test_calls_that_wait_for_nobody_move_when_the_route_changes(bus: Bus, client: InferenceClient) -> None:
    version = await set_route(bus, client)
    calls = [asyncio.create_task(ask(client, f"doc-{n}")) for n in range(5)]
    await queue_is(bus, OLD, 5)
    async with serving(bus, NEW) as new:
        await set_route(bus, client, version, default=NEW)
        async with asyncio.timeout(60):
            assert {result.model for result in await asyncio.gather(*calls)} == {NEW}
        assert len(new.taken) == 5
    await queue_is(bus, OLD, 0)


async def test_a_model_that_is_there_finishes_what_it_was_given(bus: Bus, client: InferenceClient) -> None:
    version = await set_route(bus, client)
    async with serving(bus, OLD, announced=True) as old, serving(bus, NEW) as new:
        old.gate.clear()
        calls = [asyncio.create_task(ask(client, f"doc-{n}")) for n in range(30)]
        async with asyncio.timeout(60):
            while not old.taken or await queued(bus, OLD) < 30:
                await asyncio.sleep(0.01)
        await set_route(bus, client, version, default=NEW)
        assert (await ask(client, "doc-99")).model == NEW
        old.gate.set()
        assert {result.model for result in await asyncio.gather(*calls)} == {OLD}
        assert (len(old.taken), len(new.taken)) == (30, 1)


async def still_waits_after_giving_up(client: InferenceClient) -> bool:
    """Whether it says so; its model counts as silent for a moment only, in which this machine may stand still."""
    with pytest.raises(TransientError):
        await ask(client)
    try:
        await client.still_waiting(make_submitted("doc-1"))
    except TransientError:
        return True
    return False


async def test_a_document_that_gave_up_looks_again_when_the_route_changes(bus: Bus) -> None:
    async with InferenceClient(bus, wait=0.3) as client:
        version = await set_route(bus, client)
        await until(lambda: still_waits_after_giving_up(client))
        await set_route(bus, client, version, default=NEW)
        await client.still_waiting(make_submitted("doc-1"))
        async with serving(bus, NEW):
            assert (await ask_until_answered(client)).model == NEW
        # Nobody will ever need what it left behind.
        await queue_is(bus, OLD, 0)


async def test_the_fallback_answers_for_an_absent_model_and_then_at_once(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, NEW) as new:
        await set_route(bus, client, fallback=NEW, fallback_after=1.0)
        started = time.monotonic()
        assert (await ask(client, "doc-1")).model == NEW
        assert time.monotonic() - started >= 1.0
        await queue_is(bus, OLD, 0)
        # From now on it is known that nobody is there: no document waits for it, and nothing lies in its queue.
        await set_route(bus, client, client._routes.version(TASK), fallback=NEW, fallback_after=1000.0)  # pyright: ignore[reportPrivateUsage]
        async with asyncio.timeout(60):
            assert (await ask(client, "doc-2")).model == NEW
        assert await queued(bus, OLD) == 0
        assert len(new.taken) == 2
    # It is back, and is asked again.
    async with serving(bus, OLD, announced=True), asyncio.timeout(60):
        client._served.clear()  # pyright: ignore[reportPrivateUsage]
        assert (await ask(client, "doc-3")).model == OLD


async def test_a_slow_model_and_its_fallback_race_and_the_first_answer_is_taken(
    bus: Bus, client: InferenceClient
) -> None:
    async with serving(bus, OLD, announced=True) as old, serving(bus, NEW) as new:
        old.gate.clear()
        new.gate.clear()
        await set_route(bus, client, fallback=NEW, fallback_after=0.3)
        call = asyncio.create_task(ask(client))
        async with asyncio.timeout(60):
            while not new.taken:
                await asyncio.sleep(0.01)
        old.gate.set()
        assert (await call).model == OLD


async def test_the_fallback_is_left_alone_while_the_model_answers_in_time(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, OLD), serving(bus, NEW) as new:
        await set_route(bus, client, fallback=NEW, fallback_after=60.0)
        for n in range(5):
            assert (await ask(client, f"doc-{n}")).model == OLD
        assert new.taken == []


async def test_a_full_queue_sends_to_the_fallback(bus: Bus, client: InferenceClient) -> None:
    config = (await bus.js.stream_info(INFERENCE.name)).config
    config.max_msgs_per_subject = 1
    await bus.js.update_stream(config)
    await set_route(bus, client, fallback=NEW, fallback_after=60.0)
    first = asyncio.create_task(ask(client, "doc-1"))
    await queue_is(bus, OLD, 1)
    async with serving(bus, NEW):
        async with asyncio.timeout(60):
            assert (await ask(client, "doc-2")).model == NEW
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_neither_model_nor_fallback_there_frees_the_slot(bus: Bus) -> None:
    async with InferenceClient(bus, wait=0.3, retry_delay=3) as client:
        await set_route(bus, client, fallback=NEW, fallback_after=0.1)
        with pytest.raises(TransientError, match=f"{OLD} or {NEW}"):
            await ask(client)
        # Whoever comes first may answer.
        async with serving(bus, NEW):
            assert (await ask_until_answered(client)).model == NEW
        await queue_is(bus, OLD, 0)


async def test_a_shadow_gets_the_same_work_and_its_answer_is_compared_but_never_used(
    bus: Bus, client: InferenceClient
) -> None:
    async with serving(bus, OLD, texts=("Total", "12.00")), serving(bus, NEW, texts=("Total", "12,00")) as shadow:
        await set_route(bus, client, shadows=(NEW,))
        result = await ask(client)
        assert (result.model, result.output) == (OLD, Recognitions(texts=("Total", "12.00"), confidences=(0.9, 0.9)))
        (comparison,) = await compared(bus, 1)
        (item,) = shadow.taken
    assert item.work.payload == RecognizeCrops(crops=(b"1", b"2"))
    assert item.work.lane == "bulk"
    assert (comparison.document_id, comparison.model, comparison.shadow) == ("doc-1", OLD, NEW)
    assert comparison.agreement == 0.5
    assert comparison.similarity == pytest.approx(0.9)
    assert comparison.output == Recognitions(texts=("Total", "12,00"), confidences=(0.9, 0.9))
    assert (comparison.run_ms, comparison.shadow_run_ms) == (4, 4)


async def test_a_document_waits_for_no_shadow_and_the_work_of_an_absent_one_is_taken_back(bus: Bus) -> None:
    async with serving(bus, OLD):
        client = InferenceClient(bus, wait=60)
        await client.start()
        await set_route(bus, client, shadows=(NEW,))
        for n in range(40):
            assert (await ask(client, f"doc-{n}")).model == OLD
        assert await queued(bus, NEW) <= 16, "shadows are bounded"
        await client.close()
    await queue_is(bus, NEW, 0)


@pytest.mark.parametrize("asking", [0.0, 2.0], ids=["asked", "still being asked"])
async def test_at_the_end_the_work_of_a_shadow_is_taken_back_also_by_a_slow_server(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, asking: float
) -> None:
    put, take_back = Question.ask, Desk.take_back

    async def ask_slowly(self: Question, model: str) -> None:
        await put(self, model)
        await asyncio.sleep(asking if model == NEW else 0)

    async def take_back_slowly(self: Desk, question: str, model: str) -> bool:
        await asyncio.sleep(1)
        return await take_back(self, question, model)

    monkeypatch.setattr(Question, "ask", ask_slowly)
    monkeypatch.setattr(Desk, "take_back", take_back_slowly)
    monkeypatch.setattr(shadows, "_CLOSING_SECONDS", 0.5)
    monkeypatch.setattr(shadows, "_TAKE_BACK_SECONDS", 30.0)
    async with serving(bus, OLD):
        client = InferenceClient(bus, wait=60)
        await client.start()
        await set_route(bus, client, shadows=(NEW,))
        await ask(client)
        await queue_is(bus, NEW, 1)
        await client.close()
    assert await queued(bus, NEW) == 0


async def test_a_shadow_that_fails_is_noted_and_hurts_nobody(bus: Bus, client: InferenceClient) -> None:
    failure = Failure(code="inference_failed", message="No.", stage="worker")
    async with serving(bus, OLD), serving(bus, NEW, error=failure):
        await set_route(bus, client, shadows=(NEW,))
        assert (await ask(client)).model == OLD
        (comparison,) = await compared(bus, 1)
    assert (comparison.error, comparison.agreement, comparison.output) == (failure, None, None)


async def test_the_error_of_the_model_is_the_answer_and_casts_no_shadow(bus: Bus, client: InferenceClient) -> None:
    failure = Failure(code="undecodable_payload", message="No image.", stage="worker")
    async with serving(bus, OLD, error=failure), serving(bus, NEW) as shadow:
        await set_route(bus, client, shadows=(NEW,), fallback=NEW, fallback_after=60.0)
        with pytest.raises(PermanentError, match="No image"):
            await ask(client)
        assert shadow.taken == []


async def test_the_bytes_for_each_task_are_counted(bus: Bus, client: InferenceClient) -> None:
    async with serving(bus, SETTING):
        sent: dict[str, int] = {"original": 7}
        for _ in range(2):
            await client.call(
                make_submitted("doc-1"),
                RecognizeCrops(crops=(bytes(1000), bytes(500))),
                task=TASK,
                model=SETTING,
                lane="interactive",
                again=False,
                sent=sent,
            )
    assert sent["original"] == 7
    assert 2 * 1500 < sent[TASK] < 2 * 1700
