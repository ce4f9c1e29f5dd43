"""Making streams anew from a backup."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from billow.bus.backup.book import BackupError, Book, Consumer, Entry, read_book
from billow.bus.backup.snapshot import Progress, load
from billow.bus.backup.verify import verify
from billow.bus.connection import Bus
from billow.bus.planning.server import Answer, Server
from billow.bus.topology import WAITS
from billow.runtime.errors import BillowError, PermanentError, TransientError, UsageError

_PATIENCE = 60.0
"""seconds for a cluster to have a stream deleted, or its leader chosen"""
_LOOK = 0.2


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is back."""

    name: str
    messages: int
    last_seq: int
    consumers: int
    expired: int
    """Messages of the backup whose time was over when they came back, so they are not there."""


async def restore(
    bus: Bus,
    folder: Path,
    *,
    streams: Sequence[str] = (),
    overwrite: bool = False,
    replicas: int = 0,
    progress: Progress = lambda _stream, _bytes: None,
) -> list[Restored]:
    """Make the streams of a backup anew, with every message at its sequence, and their consumers.

    Everything is looked at before anything is changed. Consumers go on at the first message that had no outcome when
    the backup began; what was settled after it is delivered once more. Services must be stopped meanwhile.

    Args:
        bus: A connection of the operator.
        folder: What `take` wrote.
        streams: Only these; all of the backup if empty.
        overwrite: Delete streams that hold something, or held something once. Empty ones that are new are replaced
            without it.
        replicas: Copies of each; as many as they had if 0.
        progress: Told how much of a file the server has.

    Raises:
        UsageError: the backup is not whole, streams are there already, or somebody still works with them.
        BackupError: a file is damaged, or the server cannot use it.
        TransientError: the server does not answer; streams before are restored.
        PermanentError: it refuses.
    """
    book = await asyncio.to_thread(read_book, folder)
    entries = wanted(folder, book, streams)
    if not streams and book.ended is None:
        raise UsageError(
            f"The backup in {folder} was never finished ({', '.join(book.missing) or 'its end'} is missing). Run "
            "`billow backup` with this folder again, or name the streams to restore with --stream."
        )
    await asyncio.to_thread(verify, folder, entries)
    server = Server(bus)
    there = {str(each["config"]["name"]): each for each in await server.streams()}
    _refuse_overwriting([there[entry.name] for entry in entries if entry.name in there], overwrite=overwrite)
    await _refuse_while_in_use(server, [entry.name for entry in entries if entry.name in there])
    done: list[Restored] = []
    for entry in entries:
        if entry.name in there:
            await server.find(f"STREAM.DELETE.{entry.name}")
            await _until_gone(server, entry.name)
        # Deliveries count from 1 again, and numbers after the end will be those of other messages.
        await server.find(f"STREAM.PURGE.{WAITS.stream}", {"filter": f"$KV.{WAITS.name}.{entry.name}.>"})
        done.append(await _restore(bus, folder, entry, book.consumers.get(entry.name, ()), replicas, progress))
    return done


def wanted(folder: Path, book: Book, streams: Sequence[str]) -> list[Entry]:
    """The streams of these names, all of the backup if none is named.

    Raises:
        UsageError: the backup has no such stream.
    """
    if unknown := [name for name in streams if name not in {entry.name for entry in book.streams}]:
        raise UsageError(f"{', '.join(unknown)} is not in the backup in {folder}, or not whole.")
    return [entry for entry in book.streams if not streams or entry.name in streams]


def _refuse_overwriting(there: Sequence[Answer], *, overwrite: bool) -> None:
    used = {str(each["config"]["name"]): each["state"]["messages"] for each in there if each["state"]["last_seq"]}
    if used and not overwrite:
        held = ", ".join(f"{name} ({messages:,} messages)" for name, messages in used.items())
        raise UsageError(
            f"Nothing was restored, as these streams are in use: {held}. With --overwrite they are deleted and "
            "replaced by those of the backup; what came since is lost then."
        )


async def _refuse_while_in_use(server: Server, names: Sequence[str]) -> None:
    """A service would make its consumer anew from the beginning, and miss that the stream was another meanwhile."""
    busy = [
        f"{each['name']} of {name}"
        for name in names
        for each in await server.consumers(name)
        if each.get("num_waiting") or each.get("push_bound")
    ]
    if busy:
        raise UsageError(
            f"Nothing was restored, as somebody still waits for messages: {', '.join(busy)}. Stop the services and "
            "subscribers first."
        )


async def _restore(
    bus: Bus, folder: Path, entry: Entry, consumers: Sequence[Consumer], replicas: int, progress: Progress
) -> Restored:
    server = Server(bus)
    config = entry.config | ({"num_replicas": replicas} if replicas else {})
    state = {"messages": entry.messages, "first_seq": entry.first_seq, "last_seq": entry.last_seq}
    if await server.stream(entry.name) is not None:
        raise UsageError(
            f"{entry.name} was made by somebody meanwhile, and stays. Stop all backends, and restore it once more."
        )
    try:
        await load(bus, config, state, folder / entry.file, progress)
        found = await _led(server, entry.name)
        if found["state"]["last_seq"] < entry.last_seq:
            raise BackupError(
                f"{entry.name} ends at sequence {found['state']['last_seq']:,} after the restore, not at "
                f"{entry.last_seq:,}. Use another backup."
            )
    except (BackupError, PermanentError, TransientError):
        # What is there of it is not whole, and would pass for the stream.
        await _forget(server, entry.name)
        raise
    for consumer in consumers:
        await _make_consumer(server, entry, consumer, replicas)
    messages = int(found["state"]["messages"])
    return Restored(
        name=entry.name,
        messages=messages,
        last_seq=entry.last_seq,
        consumers=len(consumers),
        expired=max(0, entry.messages - messages),
    )


async def _make_consumer(server: Server, entry: Entry, consumer: Consumer, replicas: int) -> None:
    config = dict(consumer.config)
    if replicas and config.get("num_replicas"):
        config["num_replicas"] = replicas
    config.pop("opt_start_time", None)
    # A work queue holds only what has no outcome, and its consumers begin at the beginning.
    if entry.config.get("retention") != "workqueue":
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": consumer.settled + 1}
    # Somebody who looked in between may have made it, from the beginning.
    await server.find(f"CONSUMER.DELETE.{entry.name}.{config['name']}")
    if not await server.make_consumer(entry.name, config, "create"):
        raise TransientError(f"{entry.name} is gone again; restore it once more.", delay=1)


async def _forget(server: Server, name: str) -> None:
    try:
        await server.find(f"STREAM.DELETE.{name}")
    except BillowError:
        # What went wrong first is what the caller has to know.
        return


async def _until_gone(server: Server, name: str) -> None:
    await _patiently(lambda found: found is None, server, name, "cannot be deleted")


async def _led(server: Server, name: str) -> Answer:
    """The stream once a cluster has chosen who leads it."""

    def led(found: Answer | None) -> bool:
        return (
            found is not None and bool(found.get("state")) and ("cluster" not in found or "leader" in found["cluster"])
        )

    return await _patiently(led, server, name, "has no leader") or {}


async def _patiently(is_so: Callable[[Answer | None], bool], server: Server, name: str, else_: str) -> Answer | None:
    until = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            found = await server.stream(name)
            if is_so(found):
                return found
        except TransientError:
            # A stream without a leader does not answer.
            found = None
        if asyncio.get_running_loop().time() > until:
            raise TransientError(f"{name} {else_}; see the server's log.", delay=5)
        await asyncio.sleep(_LOOK)
