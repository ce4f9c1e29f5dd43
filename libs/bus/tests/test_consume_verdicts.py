# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""The delivery rules on a real server: wait, dead letter, trial."""

import asyncio
import time
from itertools import pairwise

import msgspec
import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from billow.bus import headers, verdict
from billow.bus.connection import Bus
from billow.bus.deadletters import read_dead_letter
from billow.bus.delivery import Delivery
from billow.bus.planning.apply import change_consumer
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, MAX_DELIVERIES, OCR
from billow.bus.verdict import Verdicts
from billow.bus.waits import Waits
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.events import Submitted
from billow.testkit.consuming import consuming, dead_letters, settled, until
from billow.testkit.events import make_submitted

QUICK = msgspec.structs.replace(OCR, ack_wait=1)


async def kill_holders(bus: Bus, count: int) -> list[Msg]:
    """Take `count` messages until all were delivered so often that the next time is a trial, by holders that die.

    Such a holder leaves no word: a message comes back after `ack_wait`. Returns them as the last holder had them; they
    come back at once, and whoever has them from then on has the time that the service gives.
    """
    await change_consumer(bus, QUICK)
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    messages: dict[int, Msg] = {}
    while len(messages) < count or min(m.metadata.num_delivered for m in messages.values()) < MAX_DELIVERIES:
        for message in await subscription.fetch(count, timeout=30):
            messages[message.metadata.sequence.stream] = message
    due = time.monotonic() + 2 * QUICK.ack_wait
    await until(lambda: time.monotonic() > due)
    await change_consumer(bus, OCR)
    return list(messages.values())


async def test_a_transient_error_waits_for_its_delay_as_often_as_it_takes(bus: Bus) -> None:
    times: list[float] = []

    async def handler(_: Delivery) -> None:
        times.append(time.monotonic())
        if len(times) <= MAX_DELIVERIES + 3:
            raise TransientError("the model is away", delay=0.1)

    await publish_event(bus, make_submitted())
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert len(times) == MAX_DELIVERIES + 4
    assert min(b - a for a, b in pairwise(times)) >= 0.09
    assert await dead_letters(bus) == 0


async def test_a_permanent_error_makes_a_whole_dead_letter_with_its_reason(bus: Bus) -> None:
    async def handler(_: Delivery) -> None:
        raise PermanentError("The photo is empty.\nTake it again.", code="empty_file")

    event = make_submitted("doc-1")
    await publish_event(bus, event)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert msgspec.json.decode(letter.data or b"", type=Submitted) == event
    fields = letter.headers or {}
    read = read_dead_letter(letter.subject or "", fields)
    assert (read.document_id, read.failure.code, read.failure.stage) == ("doc-1", "empty_file", "ocr")
    assert read.failure.message == "The photo is empty. | Take it again."
    assert "PermanentError" in fields[headers.DEAD_TRACEBACK]


@pytest.mark.parametrize("payload", [b"not json", b'{"type":"document.eaten.v1"}', b"{}", b""])
async def test_what_cannot_be_decoded_becomes_a_dead_letter(bus: Bus, payload: bytes) -> None:
    async def handler(delivery: Delivery) -> None:
        delivery.event(Submitted)

    await bus.js.publish("documents.default.submitted.doc-9", payload)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert (letter.data or b"") == payload
    read = read_dead_letter(letter.subject or "", letter.headers or {})
    assert (read.document_id, read.failure.code) == ("doc-9", "undecodable_event")


async def test_an_event_under_another_documents_subject_is_refused(bus: Bus) -> None:
    async def handler(delivery: Delivery) -> None:
        delivery.event(Submitted)

    await bus.js.publish("documents.default.submitted.doc-2", msgspec.json.encode(make_submitted("doc-1")))
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert (letter.headers or {})[headers.DEAD_CODE] == "misaddressed_event"


async def test_a_subject_with_foreign_tokens_does_not_loop(bus: Bus) -> None:
    async def handler(delivery: Delivery) -> None:
        delivery.event(Submitted)

    await bus.js.publish("documents.NoToken!.submitted.doc-1", b"{}")
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert (await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.invalid.ocr.submitted")).data == b"{}"


async def test_a_message_that_kills_its_holder_is_buried_before_it_is_handled_again(bus: Bus) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1

    await publish_event(bus, make_submitted())
    (message,) = await kill_holders(bus, 1)
    assert await Waits(bus).begin_trial(message)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert handled == 0
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert (letter.headers or {})[headers.DEAD_CODE] == "too_many_deliveries"


async def test_what_was_in_hand_when_others_killed_the_process_is_tried_alone(bus: Bus) -> None:
    most = 0
    in_hand: list[str] = []
    handled: list[str] = []

    async def handler(delivery: Delivery) -> None:
        nonlocal most
        in_hand.append(delivery.subject)
        most = max(most, len(in_hand))
        await asyncio.sleep(0.01)
        in_hand.remove(delivery.subject)
        handled.append(delivery.subject)

    for n in range(4):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    await kill_holders(bus, 4)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert len(handled) == 4
    assert most == 1
    assert await dead_letters(bus) == 0


async def test_a_trial_that_ends_in_an_orderly_wait_is_not_the_last_one(bus: Bus) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled < 4:
            raise TransientError("the model is away", delay=0.05)

    await publish_event(bus, make_submitted())
    await kill_holders(bus, 1)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert handled == 4
    assert await dead_letters(bus) == 0


@pytest.mark.parametrize(("error", "letters"), [(None, 0), (PermanentError("Empty.", code="empty_file"), 1)])
async def test_a_trial_that_comes_again_while_it_lasts_has_one_outcome(
    bus: Bus, error: PermanentError | None, letters: int
) -> None:
    """As where the process stands still for longer than `ack_wait`."""
    handled, go_on = 0, asyncio.Event()

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        await go_on.wait()
        if error is not None:
            raise error

    await publish_event(bus, make_submitted())
    await kill_holders(bus, 1)
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    verdicts = Verdicts(bus, handler, service="ocr", buries=True)
    (first,) = await subscription.fetch(1, timeout=30)
    trying = asyncio.create_task(verdicts.handle(first, Delivery(first)))
    await until(lambda: handled == 1)
    # Not by its own method, after which it could not be acknowledged.
    await bus.client.publish(first.reply, b"-NAK")
    (again,) = await subscription.fetch(1, timeout=30)
    trying_again = asyncio.create_task(verdicts.handle(again, Delivery(again)))
    await bus.client.flush()
    go_on.set()
    await asyncio.gather(trying, trying_again)
    await until(lambda: settled(bus))
    assert handled == 1
    assert await dead_letters(bus) == letters
    if error is not None:
        letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
        assert (letter.headers or {})[headers.DEAD_CODE] == error.code


async def test_a_trial_that_was_noted_without_an_answer_is_held_all_the_same(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = KeyValue.create
    noted: list[str] = []

    async def unanswered(self: KeyValue, key: str, value: bytes) -> int:
        revision = await note(self, key, value)
        noted.append(key)
        if len(noted) == 1:
            raise nats.errors.TimeoutError
        return revision

    monkeypatch.setattr(KeyValue, "create", unanswered)
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1

    await publish_event(bus, make_submitted())
    await kill_holders(bus, 1)
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert handled == 1
    assert len(noted) == 2
    assert await dead_letters(bus) == 0


async def test_an_unexpected_error_is_tried_again_before_it_is_buried(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "_LONGEST_PAUSE", 0.05)
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        raise RuntimeError("a bug")

    await publish_event(bus, make_submitted())
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert handled == MAX_DELIVERIES
    assert await dead_letters(bus) == 1
