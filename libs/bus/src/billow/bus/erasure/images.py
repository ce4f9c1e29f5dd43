"""Originals and page images of what is erased: taken out of the object store, chunks and descriptions."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec

from billow.bus import objects
from billow.bus.erasure.messages import (
    AT_ONCE,
    Found,
    end_of,
    first_sequence,
    object_name,
    purge,
    scan,
    subjects_of,
    walk,
)
from billow.bus.erasure.reach import Reach
from billow.bus.erasure.tally import Tally
from billow.bus.objects import ObjectInfo
from billow.bus.topology import DOCUMENTS
from billow.schemas import codec
from billow.schemas.events import EVENT_NAMES, Submitted
from billow.schemas.subjects import images_bucket

PLACE = "images"

_decoder = msgspec.json.Decoder(ObjectInfo)


async def erase_images(tally: Tally, reach: Reach) -> None:
    """Remove the objects that an erasure reaches; of a tenant without newer ones all at once. The bucket stays.

    An object goes that a submission named that goes, or whose name begins with the id of the document, if it was stored
    before the erasure. Chunks go first: what is cut off by a crash is found again by its description.

    Raises:
        TransientError: the server does not answer.
    """
    bucket = images_bucket(reach.tenant)
    if reach.document_id is None and not reach.partial and not reach.new:
        stream = objects.stream_name(bucket)
        # Before the question: a newer original may be of a submission that is about to be stated.
        end = await end_of(tally.bus, stream)
        if await first_sequence(tally.bus, stream, ">", reach.time) is None:
            await _empty_bucket(tally, bucket, end)
            return
    keys = reach.keys

    async def consider(found: Found) -> None:
        if await _goes(tally, reach, object_name(found.subject), keys):
            await _remove(tally, reach, bucket, found)

    part: list[Found] = []
    async with contextlib.aclosing(_described(tally, reach, bucket)) as described:
        async for found in described:
            if found.time < reach.time:
                part.append(found)
            if len(part) >= AT_ONCE:
                await asyncio.gather(*map(consider, part))
                part.clear()
    await asyncio.gather(*map(consider, part))


async def _empty_bucket(tally: Tally, bucket: str, end: int) -> None:
    stream = objects.stream_name(bucket)
    size, number = 0, 0
    async with contextlib.aclosing(scan(tally.bus, stream, f"$O.{bucket}.M.>")) as messages:
        async for found in messages:
            info = _read(found)
            if found.sequence <= end and (info is None or not info.deleted):
                number += 1
                size += (info.size or 0) if info is not None else 0
    if not tally.dry:
        await purge(tally.bus, stream, ">", before=end + 1)
    await tally.add(PLACE, number, size)


async def _described(tally: Tally, reach: Reach, bucket: str) -> AsyncGenerator[Found]:
    """What describes the objects that may go."""
    stream, pattern = objects.stream_name(bucket), f"$O.{bucket}.M.>"
    if reach.document_id is None:
        async with contextlib.aclosing(scan(tally.bus, stream, pattern)) as messages:
            async for found in messages:
                if found.time >= reach.time:
                    return
                yield found
        return
    keys = reach.keys
    for subject in await subjects_of(tally.bus, stream, pattern):
        name = object_name(subject)
        if name in keys or name.startswith(f"{reach.document_id}/"):
            async with contextlib.aclosing(walk(tally.bus, stream, subject)) as messages:
                async for found in messages:
                    yield found


async def _goes(tally: Tally, reach: Reach, name: str, keys: dict[str, str]) -> bool:
    if name in keys:
        return True
    if any(each.key == name for revisions in reach.new.values() for each in revisions.values()):
        return False
    document, slash, _ = name.partition("/")
    if not reach.partial:
        return reach.is_about(document) or reach.document_id is None
    if not slash or document in reach.new:
        return False
    return document in reach.old or await _never_came(tally, reach, document)


async def _never_came(tally: Tally, reach: Reach, document: str) -> bool:
    """Whether an object was uploaded and never submitted, or its submission is older than the stream."""
    subject = f"documents.{reach.tenant}.{EVENT_NAMES[Submitted]}.{document}"
    async with contextlib.aclosing(walk(tally.bus, DOCUMENTS.name, subject, start=reach.border)) as later:
        async for _ in later:
            return False
    return True


async def _remove(tally: Tally, reach: Reach, bucket: str, found: Found) -> None:
    stream = objects.stream_name(bucket)
    info = _read(found)
    chunks = objects.chunks_subject(bucket, info.nuid) if info is not None and info.nuid else None
    if tally.dry:
        pass
    elif reach.document_id is not None:
        inner = Tally(tally.bus)
        if chunks is not None:
            await inner.clear(PLACE, stream, chunks, each=True)
        await inner.delete(PLACE, found)
    else:
        if chunks is not None:
            await purge(tally.bus, stream, chunks)
        await purge(tally.bus, stream, found.subject, before=found.sequence + 1)
    await tally.add(PLACE, 1, info.size if info is not None else None)


def _read(found: Found) -> ObjectInfo | None:
    try:
        return _decoder.decode(found.data)
    except codec.UNREADABLE:
        return None
