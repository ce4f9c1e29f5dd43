"""What the asker of a model hears, on a real server."""

import asyncio

from billow.bus.asking import Desk, Question
from billow.bus.connection import Bus
from billow.bus.publish import publish
from billow.bus.topology import RESULTS
from billow.schemas import codec
from billow.schemas.inference import Detections, DetectText, InferenceResult
from billow.testkit.events import make_submitted

MODEL = "fake-det_1-0-0"


def question(desk: Desk, name: str) -> Question:
    return Question(desk, make_submitted(name), DetectText(image=b"x"), task="text-detection", lane="interactive")


async def answer(bus: Bus, subject: str, worker: str) -> None:
    result = InferenceResult(request_id="r", model=MODEL, worker=worker, output=Detections(quads=(), scores=()))
    data = codec.encode(result, codec.MSGPACK)
    await publish(bus, subject, data, message_id=None, stream=RESULTS.name, extra={"Content-Type": codec.MSGPACK})


async def test_of_two_answers_the_first_counts_and_the_second_does_no_harm(bus: Bus) -> None:
    desk = Desk(bus)
    for number in range(3):
        asked = question(desk, f"doc-{number}")
        await asked.ask(MODEL)
        # Both on their way at once, as from two workers that had the same work.
        subject = asked.subject(MODEL)
        await asyncio.gather(answer(bus, subject, "one"), answer(bus, subject, "two"))
        heard = await asked.wait(20)
        assert heard is not None
        assert heard.result.worker == "one"
        await asked.close()
    # Whoever reads for this connection still does.
    assert bus.client.is_connected
    await bus.client.flush()
    await desk.close()


async def test_an_answer_after_the_question_was_closed_is_for_nobody(bus: Bus) -> None:
    desk = Desk(bus)
    asked = question(desk, "doc-1")
    await asked.ask(MODEL)
    assert await asked.wait(0.1) is None
    await asked.close()
    await answer(bus, asked.subject(MODEL), "late")
    again = question(desk, "doc-1")
    found = await again.look([MODEL])
    assert found is not None
    assert found.result.worker == "late"
    await again.close()
    await desk.close()
