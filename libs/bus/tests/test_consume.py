# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""The delivery rules on a real server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import pairwise

import msgspec
import pytest
from nats.aio.msg import Msg

from billow.bus import consume, headers
from billow.bus.connection import Bus
from billow.bus.consume import Delivery, EventConsumer
from billow.bus.deadletters import read_dead_letter
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import ensure_stream
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, DOCUMENTS, MAX_DELIVERIES, OCR, ConsumerSpec
from billow.bus.waits import Waits
from billow.runtime.errors import BillowError, PermanentError, TransientError
from billow.schemas.events import Submitted
from billow.testkit.events import make_submitted

QUICK = msgspec.structs.replace(OCR, ack_wait=1)


@contextlib.asynccontextmanager
async def consuming(
    bus: Bus, handler: Callable[[Delivery], Awaitable[None]], spec: ConsumerSpec = OCR, concurrency: int = 4
) -> AsyncGenerator[asyncio.Event]:
    consumer = EventConsumer(bus, spec, handler, service="ocr", concurrency=concurrency)
    await consumer.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        await running


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], timeout: float = 20) -> None:
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def settled(bus: Bus, durable: str = "ocr") -> bool:
    info = await bus.js.consumer_info("DOCUMENTS", durable)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def dead_letters(bus: Bus) -> int:
    return (await bus.js.stream_info(DEADLETTERS.name)).state.messages


async def test_a_handled_message_is_acknowledged_and_never_comes_again(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.event(Submitted).document_id)

    for n in range(20):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert sorted(seen) == sorted(f"doc-{n}" for n in range(20))


async def test_not_more_than_the_concurrency_is_in_hand(bus: Bus) -> None:
    in_hand = 0
    most = 0

    async def handler(_: Delivery) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await asyncio.sleep(0.01)
        in_hand -= 1

    for n in range(12):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler, concurrency=3):
        await until(lambda: settled(bus))
    assert most == 3


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
    await consume.ensure_consumer(bus, QUICK)
    # A holder that dies leaves no word: the message comes back after ack_wait.
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    for delivery in range(1, MAX_DELIVERIES + 1):
        (message,) = await subscription.fetch(1, timeout=5)
        if delivery == MAX_DELIVERIES:
            assert await Waits(bus).begin_trial(message)
    async with consuming(bus, handler, spec=QUICK):
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
    await consume.ensure_consumer(bus, QUICK)
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    for _ in range(MAX_DELIVERIES):
        messages: list[Msg] = []
        while len(messages) < 4:
            messages += await subscription.fetch(4 - len(messages), timeout=5)
    async with consuming(bus, handler, spec=QUICK):
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
    await consume.ensure_consumer(bus, QUICK)
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    for _ in range(MAX_DELIVERIES):
        await subscription.fetch(1, timeout=5)
    async with consuming(bus, handler, spec=QUICK):
        await until(lambda: settled(bus))
    assert handled == 4
    assert await dead_letters(bus) == 0


async def test_an_unexpected_error_is_tried_again_before_it_is_buried(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consume, "_LONGEST_PAUSE", 0.05)
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


async def test_long_work_stays_with_its_holder(bus: Bus) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1
        await asyncio.sleep(2.5)

    await publish_event(bus, make_submitted())
    async with consuming(bus, handler, spec=QUICK):
        await until(lambda: settled(bus))
    assert handled == 1


async def test_stopping_finishes_what_is_in_hand_and_gives_back_the_rest(bus: Bus) -> None:
    begun: list[str] = []
    finished: list[str] = []
    go_on = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        begun.append(delivery.subject)
        await go_on.wait()
        finished.append(delivery.subject)

    for n in range(5):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    async with consuming(bus, handler, concurrency=2) as stopping:
        await until(lambda: len(begun) == 2)
        stopping.set()
        go_on.set()
    assert sorted(finished) == sorted(begun)
    later: list[str] = []

    async def other(delivery: Delivery) -> None:
        later.append(delivery.subject)

    async with consuming(bus, other):
        await until(lambda: settled(bus))
    assert len(later) == 3
    assert set(later).isdisjoint(finished)


async def test_a_restarted_server_finds_its_consumer_listening(bus: Bus, embedded_server: EmbeddedServer) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)
        await embedded_server.kill()
        await embedded_server.restart()
        await publish_event(bus, make_submitted("doc-2"))
        await until(lambda: "documents.default.submitted.doc-2" in seen)


async def test_a_deleted_consumer_is_made_again(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await bus.js.delete_consumer("DOCUMENTS", "ocr")
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)


async def test_a_stream_that_is_gone_is_made_again_and_listened_to(bus: Bus) -> None:
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.subject)

    async with consuming(bus, handler):
        await bus.js.delete_stream(DOCUMENTS.name)
        await ensure_stream(bus, DOCUMENTS)
        await publish_event(bus, make_submitted("doc-1"))
        await until(lambda: len(seen) == 1)


async def test_a_dead_letter_leaves_out_headers_that_the_server_would_obey_or_refuse(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async def handler(_: Delivery) -> None:
        raise PermanentError("Cà phê 50 ₫ is no date.", code="bad")

    head = b"NATS/1.0\r\nBad(Name): 1\r\nX-Kept: yes\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"
    sizes = b"%d %d" % (len(head), len(head) + 2)
    for name in (b"doc-1", b"doc-2"):
        _, writer = await asyncio.open_connection("127.0.0.1", embedded_server.port)
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
        writer.write(b"HPUB documents.default.submitted.%b %b\r\n%b{}\r\n" % (name, sizes, head))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    async with consuming(bus, handler):
        await until(lambda: buried(bus, 2))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted", direct=True)
    fields = letter.headers or {}
    assert fields["X-Kept"] == "yes"
    assert fields[headers.DEAD_MESSAGE] == "Cà phê 50 ₫ is no date."


async def buried(bus: Bus, count: int) -> bool:
    return await dead_letters(bus) == count


async def test_a_dead_letter_of_the_largest_size_leaves_room_for_its_reason(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async def handler(delivery: Delivery) -> None:
        delivery.event(Submitted)

    size = bus.client.max_payload - 10
    await bus.js.publish("documents.default.submitted.doc-1", b"x" * size)
    async with consuming(bus, handler):
        await until(lambda: buried(bus, 1))
    letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.ocr.submitted")
    assert size - 4096 < len(letter.data or b"") < size
    assert (letter.headers or {})[headers.DEAD_SIZE] == str(size)


async def test_full_hands_cost_no_time(bus: Bus) -> None:
    go_on = asyncio.Event()

    async def handler(_: Delivery) -> None:
        await go_on.wait()

    for n in range(4):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    consumer = EventConsumer(bus, OCR, handler, service="ocr", concurrency=2)
    await consumer.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping))
    await until(lambda: consumer._room() == 0)  # pyright: ignore[reportPrivateUsage]
    # As when a request that was given up is still served.
    await consumer._session._request(2)  # pyright: ignore[reportPrivateUsage]
    await until(lambda: len(consumer._session) == 2)  # pyright: ignore[reportPrivateUsage]
    started = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - started < 0.2
    go_on.set()
    await until(lambda: settled(bus))
    stopping.set()
    await running


async def test_a_connection_that_is_gone_for_good_ends_the_service(bus: Bus, embedded_server: EmbeddedServer) -> None:
    async def handler(_: Delivery) -> None:
        return

    async with await Bus.connect(embedded_server.url, name="doomed") as doomed:
        consumer = EventConsumer(doomed, OCR, handler, service="ocr", concurrency=2)
        await consumer.start()
        running = asyncio.create_task(consumer.run(asyncio.Event()))
        # Larger than the server allows: it ejects us.
        data = b"x" * doomed.client.max_payload
        await doomed.client.publish("too.large", data, headers={"A": "b"})
        with pytest.raises(BillowError, match="for good"):
            async with asyncio.timeout(20):
                await running


async def test_what_is_on_its_way_when_the_consumer_stops_is_given_back_at_once(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    handled = 0

    async def handler(_: Delivery) -> None:
        nonlocal handled
        handled += 1

    async with await Bus.connect(embedded_server.url, name="publisher") as other:
        async with consuming(bus, handler, concurrency=100):
            for n in range(200):
                await other.client.publish(f"documents.default.submitted.doc-{n}", b"{}")
            await other.client.flush()
        # Stopped in the middle of it: the rest is to be had now, not after ack_wait.
        subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
        while handled < 200:
            for message in await subscription.fetch(200 - handled, timeout=5):
                await message.ack()
                handled += 1
