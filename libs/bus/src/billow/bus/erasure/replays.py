"""Reports of replays show examples with values: those of what is erased are taken out of them."""

import contextlib
from typing import Any, cast

import msgspec

from billow.bus import buckets
from billow.bus.erasure.messages import Found, scan
from billow.bus.erasure.reach import Reach
from billow.bus.erasure.tally import Tally
from billow.bus.topology import REPLAYS_BUCKET
from billow.schemas import codec

PLACE = "replay reports"

_GONE = object()


async def erase_from_reports(tally: Tally, reach: Reach) -> None:
    """Rewrite each stored report without what it says about the documents; one that cannot be read is removed.

    Figures over all documents stay. Raises TransientError when the server does not answer.
    """
    stream, pattern = f"KV_{REPLAYS_BUCKET}", f"$KV.{REPLAYS_BUCKET}.*.report"
    async with contextlib.aclosing(scan(tally.bus, stream, pattern)) as reports:
        async for found in reports:
            if buckets.OPERATION not in found.fields:
                await _scrub(tally, reach, found)


async def _scrub(tally: Tally, reach: Reach, found: Found) -> None:
    key = found.subject.split(".", 2)[2]
    try:
        report = msgspec.json.decode(found.data)
        number, left = _without(report, reach)
    except codec.UNREADABLE:
        number, left = 1, _GONE
    if not number:
        return
    if not tally.dry:
        with contextlib.suppress(buckets.WrongRevisionError):
            if left is _GONE:
                await buckets.put(tally.bus, REPLAYS_BUCKET, key, b"", expected=found.sequence, fields=buckets.DELETED)
            else:
                data = msgspec.json.encode(left)
                await buckets.put(tally.bus, REPLAYS_BUCKET, key, data, expected=found.sequence)
    await tally.add(PLACE, number, note="examples")


def _without(value: Any, reach: Reach) -> tuple[int, Any]:
    """The value without the objects that are about a document that goes, and how many those are."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if _is_about(fields, reach):
            return 1, _GONE
        kept = {key: _without(each, reach) for key, each in fields.items()}
        return sum(n for n, _ in kept.values()), {key: each for key, (_, each) in kept.items() if each is not _GONE}
    if isinstance(value, list):
        items = [_without(each, reach) for each in cast("list[Any]", value)]
        return sum(n for n, _ in items), [each for _, each in items if each is not _GONE]
    return 0, value


def _is_about(fields: dict[str, Any], reach: Reach) -> bool:
    document, tenant = fields.get("document_id"), fields.get("tenant", reach.tenant)
    return tenant == reach.tenant and isinstance(document, str) and reach.is_about(document)
