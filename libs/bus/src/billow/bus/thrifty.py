# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportPrivateUsage=false, reportUnknownArgumentType=false
"""A NATS client that costs little a message: few writes to the socket, and no task between the socket and a listener.

The stock client writes in each round of the event loop, though work that came together is begun in many rounds. So
each message would be a system call, a wake-up of the server, and a wake-up of whoever comes next.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.headers import is_name
from billow.bus.tolerant import TolerantClient

_LATEST = 0.002
"""seconds that a message may wait for others while the event loop has something to do"""
_REMEMBERED = 1_000
_good_names: set[str] = set()
"""Names of headers that were looked at; callers may write any, so only so many are kept."""
_NO_SUBJECT = re.compile(r"\A\Z|[ \t\r\n]")


class ThriftyClient(TolerantClient):
    """Writes when there is nothing else to do, or after 2 ms. An idle process writes at once."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, Callable[[Msg], None]] = {}
        self._writers: _Writers | None = None
        self._write_is_due = False

    async def listen(self, subject: str, listener: Callable[[Msg], None]) -> Subscription:
        """Subscribe; `listener` hears each message as it is read, before all that comes after it, and may not block.

        Nothing is dropped for being slow, as nothing is queued.
        """
        # Known before it is sent, so that no message can pass unheard.
        sid = self._sid + 1
        self._listeners[sid] = listener
        try:
            return await self.subscribe(subject, cb=_never)
        except BaseException:
            self._listeners.pop(sid, None)
            raise

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """As the stock client, which takes three times as long for a message with headers."""
        command = self._command(subject, payload, reply, headers) if self._status == Client.CONNECTED else None
        if command is None or 0 < self._max_pending_size < self._pending_data_size + len(command):
            await super().publish(subject, payload, reply, headers)
            return
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._write_is_due:
            self._write_soon()

    def hurry(self) -> None:
        """Write what is pending in the next turn of the loop, however busy it is."""
        if self._writers is not None:
            self._writers.hurry()

    def _command(self, subject: str, payload: bytes, reply: str, fields: dict[str, str] | None) -> bytes | None:
        """What goes over the wire; None for what the stock client has to judge."""
        size = len(payload)
        if size > self._max_payload or _NO_SUBJECT.search(subject) or (reply and _NO_SUBJECT.search(reply)):
            return None
        if fields is None:
            return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, payload)
        if not fields.keys() <= _good_names and not all(map(_is_good, fields)):
            return None
        # Not formatted: the stock client names some headers by members of an enum, which format as something else.
        lines = "".join([name + ": " + value.strip() + "\r\n" for name, value in fields.items()])
        if lines.count("\n") != len(fields) or lines.count("\r") != len(fields):
            return None
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        begin = f"HPUB {subject} {reply} {len(head)} {len(head) + size}\r\n".encode()
        return b"".join((begin, head, payload, b"\r\n"))

    async def _process_msg(self, sid: int, subject: Any, reply: Any, data: Any, headers: Any) -> None:
        listener = self._listeners.get(sid)
        if listener is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        fields = await self._process_headers(headers)
        try:
            listener(self._build_message(sid, subject, reply, data, fields))
        except Exception as e:
            # Else the reading loop would end, and the client be deaf.
            await self._error_cb(e)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self._listeners.pop(sid, None)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        if force_flush or not self.is_connected or self._flusher_task is None or self._flusher_task.done():
            return await super()._flush_pending(force_flush)
        if not self._write_is_due:
            self._write_soon()
        return None

    async def _send_ping(self, future: "asyncio.Future[Any] | None" = None) -> None:
        # Its answer says that all before it has arrived, so it may not overtake what is pending.
        # While it reconnects it is a probe that has 10 s, and much may be pending.
        if self._reconnection_task_future is None:
            self._write()
        await super()._send_ping(future)

    def _write_soon(self) -> None:
        if self._writers is None:
            self._writers = _writers_of(asyncio.get_running_loop())
        self._write_is_due = True
        self._writers.add(self._write)

    def _write(self) -> None:
        self._write_is_due = False
        if not self.is_connected or not self._pending_data_size:
            return
        if self._transport is not None and self._is_clear():
            self._transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0
        elif self._flush_queue is not None and self._flush_queue.empty():
            # Its task waits until the socket takes more, and who publishes too much meanwhile waits for it.
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    def _is_clear(self) -> bool:
        """Whether the socket takes what is written: nothing from before waits for it."""
        writer = getattr(self._transport, "_io_writer", None)
        return writer is not None and not writer.is_closing() and not writer.transport.get_write_buffer_size()


class _Writers:
    """Those of one event loop that have something to write; one for all, or each would wait for the others."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._until = 0.0

    def add(self, write: Callable[[], None]) -> None:
        """Call `write` once, soon."""
        if not self._waiting:
            loop = asyncio.get_running_loop()
            self._until = loop.time() + _LATEST
            loop.call_soon(self._look, loop)
        self._waiting.append(write)

    def hurry(self) -> None:
        """Wait for nothing."""
        self._until = 0.0

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        # Another kind of loop has no such attribute: then it is written at once.
        ready: Sequence[object] = getattr(loop, "_ready", ())
        if ready and loop.time() < self._until:
            loop.call_soon(self._look, loop)
            return
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            write()


_writers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Writers] = WeakKeyDictionary()


def _writers_of(loop: asyncio.AbstractEventLoop) -> _Writers:
    found = _writers.get(loop)
    if found is None:
        found = _writers[loop] = _Writers()
    return found


def _is_good(name: str) -> bool:
    good = name in _good_names or is_name(name)
    if good and len(_good_names) < _REMEMBERED:
        _good_names.add(name)
    return good


async def _never(_: Msg) -> None:
    raise AssertionError("its listener hears every message")
