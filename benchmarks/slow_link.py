"""A way to a server that takes its time: a relay that hands on each byte some milliseconds later.

Not every kernel has tc's netem, so the delay is made here. TCP's own slow start is not part of it: the connections on
both sides of the relay are fast, and so many bytes as there are may be on their way at once.
"""

import asyncio
from types import TracebackType
from typing import Self

_PIECE = 256 * 1024


class SlowLink:
    """Listens on a port of its own for as many connections as come, and relays each to `port`."""

    def __init__(self, port: int, round_trip: float) -> None:
        """`port`: of a server on this machine; `round_trip`: seconds there and back together."""
        self._port = port
        self._one_way = round_trip / 2
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where NATS clients find the server through the relay."""
        if self._server is None:
            raise RuntimeError("use it as a context")
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port, limit=_PIECE)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await source.read(_PIECE):
                # In the order they came: all have the same delay.
                loop.call_later(self._one_way, _write, target, data)
        finally:
            loop.call_later(self._one_way, target.close)


def _write(target: asyncio.StreamWriter, data: bytes) -> None:
    if not target.is_closing():
        target.write(data)
