# pyright: reportUnknownMemberType=false
"""Sending what died on its way again, once however often it is tried.

A new message carries the mark of its letter, and the letter is removed after the server has the message. Whoever comes
between finds the mark: within the duplicate window the server does, by `Nats-Msg-Id`, and later we do, on the subject.
"""

from typing import Literal, NamedTuple, cast

import msgspec
import nats.js.errors
from nats.js.api import RawStreamMsg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import Letter, WholeLetter, read_letter, remove
from billow.bus.deadletters import original_headers
from billow.bus.delivery import place_of
from billow.bus.faults import translated
from billow.bus.publish import find_event, publish
from billow.bus.topology import DOCUMENTS, INFERENCE, RESULTS, RUNS
from billow.runtime import trace
from billow.runtime.errors import PermanentError
from billow.schemas import codec, subjects
from billow.schemas.events import Completed
from billow.schemas.inference import InferenceResult, InferenceWork
from billow.schemas.tokens import is_token

_SUBJECTS = {spec.name: spec.subjects[0] for spec in (DOCUMENTS, RUNS, INFERENCE)}
_STAGES = {"submitted", "recognized", "analyzed"}
_PROMOTED = "promoted"


class Redriven(NamedTuple):
    """What became of a letter."""

    outcome: Literal["sent", "sent_before", "not_needed", "gone", "refused"]
    """All but `refused` leave no letter behind. `sent_before`: by a redrive that was broken off."""
    reason: str = ""
    """For a person: why it was not needed, or refused."""


class _RefusedError(Exception):
    """It cannot be sent again; says why."""


class _NotNeededError(Exception):
    """Nothing is left to do; says why."""


class _Revised(msgspec.Struct, frozen=True):
    """What an event of any type says of the revision."""

    revision: int = 1


async def redrive(bus: Bus, sequence: int) -> Redriven:
    """Publish the message of a dead letter again where it was published, and remove the letter.

    The payload and the headers are the original ones. Of inference work an error that was the answer is forgotten, so
    that a caller who asks again finds the new answer.

    Idempotent: a repeated call, also after a crash and after the duplicate window, publishes an event no second time.
    Inference work may run twice then; its answer is the same message.

    Raises:
        TransientError: NATS does not answer, or the stream is full (`BusyError`); the letter stays.
    """
    whole = await read_letter(bus, sequence)
    if whole is None:
        return Redriven("gone", "There is no such letter, or not any more.")
    try:
        sent_before = await _send(bus, whole)
    except _RefusedError as e:
        return Redriven("refused", str(e))
    except _NotNeededError as e:
        await remove(bus, sequence)
        return Redriven("not_needed", str(e))
    except PermanentError as e:
        return Redriven("refused", str(e))
    await remove(bus, sequence)
    return Redriven("sent_before" if sent_before else "sent")


async def _send(bus: Bus, whole: WholeLetter) -> bool:
    """Whether an earlier redrive had sent it; raises if it must not be sent."""
    letter = whole.letter
    _check_address(letter)
    mark = f"{letter.sequence}.{int(letter.buried_at.timestamp() * 1000)}"
    payload = await _payload(bus, whole)
    fields = original_headers(whole.headers)
    if letter.stream == INFERENCE.name:
        await _forget_answer(bus, letter, payload, fields.get(headers.CONTENT_TYPE))
    else:
        if await _was_sent(bus, letter, mark):
            return True
        await _check_document(bus, letter, payload, fields.get(headers.CONTENT_TYPE))
    trace.adopt(whole.headers.get(trace.HEADER))
    await publish(
        bus,
        letter.subject,
        payload,
        message_id=f"redrive.{mark}",
        stream=letter.stream,
        extra={**fields, headers.REDRIVE_OF: mark},
    )
    return False


def _check_address(letter: Letter) -> None:
    pattern, subject = _SUBJECTS.get(letter.stream), letter.subject
    if (
        pattern is None
        or pattern.partition(".")[0] != subject.partition(".")[0]
        or pattern.count(".") != subject.count(".")
    ):
        raise _RefusedError("The letter does not say where its message came from. Publish it again by hand.")
    if not all(map(is_token, subject.split("."))):
        raise _RefusedError(f"Nothing on {subject} can be valid. Publish the event under the subject of its document.")


async def _payload(bus: Bus, whole: WholeLetter) -> bytes:
    """As it was before it was cut, if it was."""
    letter = whole.letter
    if letter.cut_from is None:
        return whole.payload
    found = await _next(bus, letter, letter.stream_sequence)
    if found is None or found.seq != letter.stream_sequence:
        raise _RefusedError(
            f"Only {letter.size:,} of {letter.cut_from:,} bytes fitted into the letter, and the message is not in "
            f"{letter.stream} any more. Submit the document again."
        )
    return found.data or b""


async def _was_sent(bus: Bus, letter: Letter, mark: str) -> bool:
    """Whether a message after the one that died was made from this letter."""
    after = letter.stream_sequence
    while (found := await _next(bus, letter, after + 1)) is not None:
        if _fields(found).get(headers.REDRIVE_OF) == mark:
            return True
        after = found.seq or after + 1
    return False


async def _check_document(bus: Bus, letter: Letter, payload: bytes, content_type: str | None) -> None:
    place = place_of(letter.subject)
    if place.event == _PROMOTED and await _next(bus, letter, letter.stream_sequence + 1) is not None:
        raise _NotNeededError("A later promotion of the document counts.")
    if place.event not in _STAGES:
        return
    revision = _revision(payload, content_type)
    if revision is None:
        return
    if await find_event(bus, Completed, place.tenant, place.document_id, revision, place.run_id) is not None:
        raise _NotNeededError("The document has completed meanwhile.")


def _revision(payload: bytes, content_type: str | None) -> int | None:
    """None where the payload cannot be read; whoever handles it will say why."""
    try:
        return codec.decode(payload, _Revised, content_type).revision
    except codec.CodecError:
        return None


async def _forget_answer(bus: Bus, letter: Letter, payload: bytes, content_type: str | None) -> None:
    """Forget that the work failed, and that it had its last trial."""
    try:
        work = codec.decode(payload, InferenceWork, content_type)
    except codec.CodecError as e:
        raise _RefusedError(f"No model can read this: {e}. Redrive the letter of the document instead.") from e
    answers = subjects.result(work.tenant, letter.subject.split(".")[1], work.request_id)
    with translated("looking for the answer"):
        try:
            found = await bus.js.get_last_msg(RESULTS.name, answers, direct=True)
        except nats.js.errors.NotFoundError:
            found = None
    if found is not None and _is_answer(found):
        raise _NotNeededError("The work has been answered meanwhile.")
    with translated("forgetting the error"):
        for subject in (answers, subjects.result(work.tenant, "trial", work.request_id)):
            await bus.js.purge_stream(RESULTS.name, subject=subject)


async def _next(bus: Bus, letter: Letter, sequence: int) -> RawStreamMsg | None:
    """The first message on the letter's subject from a sequence on."""
    with translated(f"reading {letter.subject}"):
        try:
            return await bus.js.get_msg(letter.stream, seq=sequence, subject=letter.subject, next=True, direct=True)
        except nats.js.errors.NotFoundError:
            return None


def _is_answer(message: RawStreamMsg) -> bool:
    try:
        return (
            codec.decode(message.data or b"", InferenceResult, _fields(message).get(headers.CONTENT_TYPE)).error is None
        )
    except codec.CodecError:
        return False


def _fields(message: RawStreamMsg) -> dict[str, str]:
    return cast("dict[str, str]", message.headers or {})
