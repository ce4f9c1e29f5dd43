# pyright: reportUnknownMemberType=false
"""One stream as the server's snapshot, into a file and out of it (ADR-63; before 2.15 ADR-31's tar, the same calls)."""

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.backup.book import BackupError
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.planning.server import Answer, Server
from billow.runtime.errors import TransientError

Progress = Callable[[str, int], None]
"""Told the stream and how many bytes of its file are through, often."""

CHUNK = 512 * 1024
"""bytes a message"""
_SILENCE = 30.0
"""seconds without a chunk after which the server is taken for gone; it gives up on us after 5"""
_LAST_WORD = 600.0
"""seconds for the server to put a restored stream in its place"""
_DONE = "204"


async def save(bus: Bus, stream: str, path: Path, progress: Progress) -> tuple[Answer, int, str]:
    """Write a snapshot of the stream, without consumers, to a new file; it is synced to the disk.

    Returns:
        The server's answer (`config` and `state`), and size and sha256 of the file.

    Raises:
        TransientError: the server stopped half-way, as when the stream's leader went; the file is not whole.
        PermanentError: it refuses.
        BackupError: the file cannot be written.
    """
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox)
    try:
        asked = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK}
        answer = await Server(bus).ask(f"STREAM.SNAPSHOT.{stream}", asked)
        size, sha256 = await _receive(bus, stream, subscription, path, progress)
    finally:
        await bus.unsubscribe(subscription)
    return answer, size, sha256


async def load(bus: Bus, config: Answer, state: Answer, path: Path, progress: Progress) -> Answer:
    """Make the stream anew from a file; there must be none of its name.

    Returns:
        The stream as the server describes it now.

    Raises:
        TransientError: the server stopped answering.
        PermanentError: it refuses.
        BackupError: it took the file and could not make a stream of it, of which a part may be there now; or the file
            cannot be read.
    """
    name = str(config["name"])
    answer = await Server(bus).ask(f"STREAM.RESTORE.{name}", {"config": config, "state": state})
    subject = str(answer["deliver_subject"])
    sent = 0
    try:
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                _accepted(name, await _request(bus, subject, chunk, _SILENCE))
                sent += len(chunk)
                progress(name, sent)
        finally:
            await asyncio.to_thread(file.close)
    except OSError as e:
        raise BackupError(f"{path} cannot be read: {e.strerror}.") from e
    return _accepted(name, await _request(bus, subject, b"", _LAST_WORD))


async def _receive(
    bus: Bus, stream: str, subscription: Subscription, path: Path, progress: Progress
) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        file = await asyncio.to_thread(path.open, "xb")
        try:
            while True:
                message = await _chunk(stream, subscription)
                if _is_last(stream, message):
                    break
                await asyncio.to_thread(_append, file, digest, message.data)
                size += len(message.data)
                if message.reply:
                    await bus.client.publish(message.reply)
                progress(stream, size)
            await asyncio.to_thread(_finish, file)
        finally:
            await asyncio.to_thread(file.close)
    except OSError as e:
        raise BackupError(_unwritable(path, e)) from e
    return size, digest.hexdigest()


async def _chunk(stream: str, subscription: Subscription) -> Msg:
    with translated(f"the snapshot of {stream}"):
        return await subscription.next_msg(timeout=_SILENCE)


def _is_last(stream: str, message: Msg) -> bool:
    """Whether all came. Raises TransientError where the server gave up."""
    if message.data:
        return False
    headers = message.headers or {}
    status = headers.get("Status", "")
    if status in {"", _DONE}:
        # A small snapshot, and an older server's, end without a status.
        return True
    raise TransientError(f"The server gave up the snapshot of {stream}: {status} {headers.get('Description', '')}.")


async def _request(bus: Bus, subject: str, payload: bytes, timeout: float) -> bytes:
    with translated("the restore"):
        return (await bus.client.request(subject, payload, timeout=timeout)).data


def _accepted(stream: str, data: bytes) -> Answer:
    """The server's answer to a chunk. Raises BackupError: it cannot go on."""
    if not data:
        return {}
    try:
        answer = cast(Answer, msgspec.json.decode(data))
    except msgspec.DecodeError:
        answer = {"error": {"description": data.decode(errors="replace")}}
    if "error" not in answer:
        return answer
    reason = str(answer["error"].get("description", answer["error"]))
    raise BackupError(f"The server cannot restore {stream}: {reason}.")


def _append(file: IO[bytes], digest: Any, data: bytes) -> None:
    file.write(data)
    digest.update(data)


def _finish(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return (
            f"{path.parent} is full ({error.strerror}) and the backup is not whole. Make room and run the same command "
            "again: the streams that are through stay."
        )
    return f"{path} cannot be written: {error.strerror}. Choose another folder."
