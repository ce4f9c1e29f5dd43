# pyright: reportUnknownMemberType=false
"""Acknowledgements of what is published, from a real server and from strange ones."""

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg

from billow.bus.acks import store
from billow.bus.connection import Bus
from billow.bus.headers import MSG_ID
from billow.testkit.consuming import until

SUBJECT = "documents.default.submitted.doc-1"


async def test_the_sequence_comes_back_and_a_repeat_says_so(bus: Bus) -> None:
    first = await store(bus, SUBJECT, b"{}", {MSG_ID: "one"}, 5)
    again = await store(bus, SUBJECT, b"{}", {MSG_ID: "one"}, 5)
    assert (first.seq, first.duplicate) == (1, False)
    assert (again.seq, again.duplicate) == (1, True)


async def test_what_the_server_refuses_is_told_by_its_code(bus: Bus) -> None:
    with pytest.raises(nats.js.errors.APIError) as caught:
        await store(bus, SUBJECT, b"{}", {"Nats-Expected-Last-Sequence": "7"}, 5)
    assert caught.value.err_code == 10071


async def test_a_subject_of_no_stream_is_told_at_once(bus: Bus) -> None:
    with pytest.raises(nats.js.errors.NoStreamResponseError):
        await store(bus, "nowhere.at.all", b"{}", {}, 30)


@pytest.mark.parametrize("said", [b"", b"{}", b"[1]", b"\xff", b'{"seq": "one"}'])
async def test_an_answer_that_names_no_message_is_no_acknowledgement(bus: Bus, said: bytes) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(said)

    await bus.client.subscribe("strange.server", cb=answer)
    with pytest.raises(nats.errors.Error, match="acknowledgement"):
        await store(bus, "strange.server", b"{}", {}, 30)


async def test_who_does_not_answer_is_waited_for_in_time_and_a_late_answer_is_for_nobody(bus: Bus) -> None:
    asked: list[Msg] = []

    async def keep(message: Msg) -> None:
        asked.append(message)

    await bus.client.subscribe("silent.server", cb=keep)
    with pytest.raises(nats.errors.TimeoutError):
        await store(bus, "silent.server", b"{}", {}, 0.2)
    await until(lambda: len(asked) == 1)
    await asked[0].respond(b'{"stream": "S", "seq": 9}')
    assert (await store(bus, SUBJECT, b"{}", {}, 5)).seq == 1
