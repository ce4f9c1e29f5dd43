"""What is kept about documents outside `DOCUMENTS` and the images: runs, dead letters, work, answers, comparisons."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import msgspec

from billow.bus import headers
from billow.bus.deadletters import read_dead_letter
from billow.bus.erasure.messages import Found, end_of, first_sequence, purge, scan, subjects_of, walk
from billow.bus.erasure.reach import Reach
from billow.bus.erasure.tally import Tally
from billow.bus.routes import TASKS
from billow.bus.topology import DEADLETTERS, INFERENCE, RESULTS, RUNS, SHADOWS, WAITS_BUCKET
from billow.schemas import codec

RUNS_PLACE = "runs"
LETTERS_PLACE = "dead letters"
WORK_PLACE = "inference work"
SHADOWS_PLACE = "shadows"
RESULTS_PLACE = "results"
WAITS_PLACE = "waits"

Takes = Callable[[Reach, Found], bool]
"""Whether a message is about something that is to go."""


class _Named(msgspec.Struct):
    """What any of our payloads says about its document."""

    tenant: str = ""
    document_id: str = ""
    revision: int | None = None


_json = msgspec.json.Decoder(_Named)
_msgpack = msgspec.msgpack.Decoder(_Named)


class About(NamedTuple):
    """The document that a message is about, as far as it says."""

    document_id: str
    revision: int | None


def about(data: bytes) -> About | None:
    """What a payload says; None where it cannot be read, e.g. as it was cut."""
    try:
        named = _json.decode(data) if data[:1] < b"\x80" else _msgpack.decode(data)
    except codec.UNREADABLE:
        return None
    return About(named.document_id, named.revision or None)


def names(data: bytes, document_id: str) -> bool:
    """Whether an unreadable payload names the document all the same: JSON or MessagePack, whole or cut."""
    quoted = msgspec.json.encode(document_id)
    packed = b"document_id" + msgspec.msgpack.encode(document_id)
    return packed in data or b'"document_id":' + quoted in data or b'"document_id": ' + quoted in data


async def erase_runs(tally: Tally, reach: Reach) -> None:
    """What replays made of the documents. Raises TransientError when the server does not answer."""
    pattern = f"runs.{reach.tenant}.*.*.{reach.token}"
    if reach.document_id is not None:
        await _erase_each(tally, reach, RUNS_PLACE, RUNS.name, pattern, _takes)
        return
    if await _clear_older(tally, reach, RUNS_PLACE, RUNS.name, pattern) is None:
        return
    for subject in await subjects_of(tally.bus, RUNS.name, pattern) if not tally.dry else ():
        if reach.is_about(subject.rpartition(".")[2]):
            await _erase_each(tally, reach, RUNS_PLACE, RUNS.name, subject, _takes)


async def erase_dead_letters(tally: Tally, reach: Reach) -> None:
    """Dead letters of events, runs and inference work. Raises TransientError when the server does not answer."""
    await _erase_found(tally, reach, LETTERS_PLACE, DEADLETTERS.name, "deadletters", _takes_letter)


def _takes_letter(reach: Reach, letter: Found) -> bool:
    read = read_dead_letter(letter.subject, dict(letter.fields))
    said = about(letter.data)
    documents = {letter.fields.get(headers.DEAD_DOCUMENT, ""), said.document_id if said else ""}
    if letter.fields.get(headers.DEAD_SUBJECT, "").split(".")[0] != INFERENCE.name.lower():
        documents.add(read.document_id)
    documents.discard("")
    if said is None and reach.document_id is not None and names(letter.data, reach.document_id):
        documents.add(reach.document_id)
    revision = said.revision if said else None
    return any(reach.takes(document, revision, letter.time) for document in documents)


async def erase_work(tally: Tally, reach: Reach) -> None:
    """Work that waits for a model. Raises TransientError when the server does not answer."""
    pattern = f"inference.*.*.*.{reach.tenant}"
    if reach.document_id is None and not reach.partial and not reach.new:
        await tally.clear(WORK_PLACE, INFERENCE.name, pattern, each=False)
        return
    await _erase_each(tally, reach, WORK_PLACE, INFERENCE.name, pattern, _takes_payload)


async def erase_shadows(tally: Tally, reach: Reach) -> None:
    """What shadow models made of the documents. Raises TransientError when the server does not answer."""
    await _erase_found(tally, reach, SHADOWS_PLACE, SHADOWS.name, "shadows", _takes_payload)


async def erase_results(tally: Tally, reach: Reach) -> None:
    """All answers of models that are kept for the tenant, as they do not say which document they are about.

    Who waits for one has heard it already, or asks again. What is only about old documents leaves them alone: they are
    gone within an hour by themselves.

    Raises:
        TransientError: the server does not answer.
    """
    if reach.partial:
        return
    if reach.document_id is None:
        await tally.clear(RESULTS_PLACE, RESULTS.name, f"results.{reach.tenant}.>", each=False)
        return
    for task in TASKS:
        await tally.clear(RESULTS_PLACE, RESULTS.name, f"results.{reach.tenant}.{task}.*", each=True)


async def erase_waits(tally: Tally, reach: Reach) -> None:
    """Counts of orderly waits of messages that are gone. Raises TransientError when the server does not answer."""
    if reach.document_id is not None:
        await tally.forget_waits(WAITS_BUCKET)
        return
    if reach.partial or tally.dry:
        return
    stream, prefix = f"KV_{WAITS_BUCKET}", f"$KV.{WAITS_BUCKET}."
    firsts: dict[tuple[str, int], bool] = {}
    for subject in await subjects_of(tally.bus, stream, f"{prefix}>"):
        name, _, sequence, *_ = [*subject.removeprefix(prefix).split("."), "", "", ""]
        if not sequence.isdigit():
            continue
        place = (name, int(sequence))
        if place not in firsts:
            firsts[place] = await _is_there(tally, *place)
        if not firsts[place]:
            await tally.add(WAITS_PLACE, await purge(tally.bus, stream, subject))


async def _clear_older(tally: Tally, reach: Reach, place: str, stream: str, pattern: str) -> int | None:
    """Of a larger erasure take out what was stored before; returns from where on to look at each, None for nowhere."""
    if reach.document_id is not None:
        return 1
    # Before the question: what is stored after it is not older.
    end = await end_of(tally.bus, stream)
    border = await first_sequence(tally.bus, stream, pattern, reach.time)
    await tally.clear(place, stream, pattern, each=False, before=end + 1 if border is None else border)
    return border


async def _is_there(tally: Tally, stream: str, sequence: int) -> bool:
    async with contextlib.aclosing(walk(tally.bus, stream, ">", start=sequence)) as messages:
        async for found in messages:
            return found.sequence == sequence
    return False


async def _erase_found(tally: Tally, reach: Reach, place: str, stream: str, first: str, takes: Takes) -> None:
    """What lies under `<first>.<tenant>.*.*` and names no document there: each message has to be looked at."""
    pattern = f"{first}.{reach.tenant}.*.*"
    start = await _clear_older(tally, reach, place, stream, pattern)
    if start is not None:
        await _erase_taken(tally, reach, place, scan(tally.bus, stream, pattern, start=start), takes)


async def _erase_each(tally: Tally, reach: Reach, place: str, stream: str, pattern: str, takes: Takes) -> None:
    await _erase_taken(tally, reach, place, walk(tally.bus, stream, pattern), takes)


async def _erase_taken(tally: Tally, reach: Reach, place: str, messages: AsyncGenerator[Found], takes: Takes) -> None:
    async with contextlib.aclosing(messages):
        async for found in messages:
            if takes(reach, found):
                await tally.delete(place, found)


def _takes(reach: Reach, found: Found) -> bool:
    said = about(found.data)
    return reach.takes(found.subject.rpartition(".")[2], said.revision if said else None, found.time)


def _takes_payload(reach: Reach, found: Found) -> bool:
    said = about(found.data)
    if said is None:
        document = reach.document_id
        return document is not None and names(found.data, document) and reach.takes(document, None, found.time)
    return reach.takes(said.document_id, said.revision, found.time)
