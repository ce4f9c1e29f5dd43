"""The history of what is erased: all its events but the erasure itself, and word to whoever works on it now."""

import asyncio
import contextlib

import msgspec

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.erasure.messages import AT_ONCE, scan, subjects_of, walk
from billow.bus.erasure.reach import Reach
from billow.bus.erasure.tally import Tally
from billow.bus.faults import translated
from billow.bus.topology import DOCUMENTS
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Completed, Erased, Failed, Submitted

PLACE = "events"
_SUBMITTED = EVENT_NAMES[Submitted]
_DERIVED = tuple(name for type_, name in EVENT_NAMES.items() if type_ not in (Submitted, Erased))


async def stop_work(bus: Bus, event: Erased, reach: Reach) -> int:
    """Tell all who work on what is erased, on the core subjects of cancellations; returns of how many documents.

    Only quick: who misses it works for nothing, and what it states is taken out again. Nobody who hears it may keep it
    in mind, since the same id may be submitted anew.

    Raises:
        TransientError: NATS does not answer.
    """
    if reach.partial:
        return 0
    ended: set[str] = set()
    for type_ in (Completed, Failed):
        pattern = f"documents.{reach.tenant}.{EVENT_NAMES[type_]}.{reach.token}"
        ended |= {subject.rpartition(".")[2] for subject in await subjects_of(bus, DOCUMENTS.name, pattern)}
    told = 0
    for document in reach.old.keys() - ended:
        subject = subjects.cancelled(reach.tenant, document)
        said = msgspec.structs.replace(event, scope="document", document_id=document)
        with translated(f"announcing {subject}"):
            await bus.client.publish(subject, codec.encode(said), headers={headers.CONTENT_TYPE: codec.JSON})
        told += 1
    return told


async def erase_events(tally: Tally, reach: Reach) -> None:
    """Take the events out of `DOCUMENTS`; submissions last, since only they tell what else there is to remove.

    Raises:
        TransientError: the server does not answer.
    """
    stream, prefix = DOCUMENTS.name, f"documents.{reach.tenant}"
    if reach.document_id is not None:
        await _erase_document(tally, reach, reach.document_id)
        return
    for name in _DERIVED:
        await tally.clear(PLACE, stream, f"{prefix}.{name}.*", each=False, before=reach.border)
    if reach.partial:
        documents = list(reach.old)
        for start in range(0, len(documents), AT_ONCE):
            part = documents[start : start + AT_ONCE]
            await asyncio.gather(*(_erase_document(tally, reach, document) for document in part))
        await tally.clear(PLACE, stream, f"{prefix}.{_SUBMITTED}.*", each=False, before=reach.border)
        return
    await tally.clear(PLACE, stream, f"{prefix}.{_SUBMITTED}.*", each=False, before=reach.border)
    if tally.dry:
        return
    async with contextlib.aclosing(scan(tally.bus, stream, f"{prefix}.*.*")) as left:
        async for found in left:
            if reach.takes_event(found):
                await tally.delete(PLACE, found)


async def _erase_document(tally: Tally, reach: Reach, document: str) -> None:
    submitted = f"documents.{reach.tenant}.{_SUBMITTED}.{document}"
    # Of many documents what lies below the border was taken out at once.
    start = reach.border if reach.partial else 1
    stated = await subjects_of(tally.bus, DOCUMENTS.name, f"documents.{reach.tenant}.*.{document}")
    # Erasures stay, and of one document there may be very many.
    for subject in stated.keys() - {submitted, f"documents.{reach.tenant}.{EVENT_NAMES[Erased]}.{document}"}:
        async with contextlib.aclosing(walk(tally.bus, DOCUMENTS.name, subject, start=start)) as history:
            async for found in history:
                if reach.takes_event(found):
                    await tally.delete(PLACE, found)
    if reach.partial:
        return
    async with contextlib.aclosing(walk(tally.bus, DOCUMENTS.name, submitted)) as submissions:
        async for found in submissions:
            if reach.takes_event(found):
                await tally.delete(PLACE, found)
