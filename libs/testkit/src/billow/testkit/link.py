"""A TCP link that can be cut and mended, between two servers of a test."""

import asyncio
import contextlib
from collections.abc import Sequence

_CHUNK = 64 * 1024


class Link:
    """Listens on a port of the loopback interface and hands each connection on to the first target that takes it."""

    def __init__(self, targets: Sequence[tuple[str, int]]) -> None:
        self._targets = tuple(targets)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._target = 0
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The same after each `open`."""
        return self._port

    @property
    def target(self) -> int:
        """Index of the target that took the last connection."""
        return self._target

    async def open(self) -> None:
        """Begin to listen. A no-op if it does."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, reuse_address=True)
            self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            for index, (host, port) in enumerate(self._targets):
                with contextlib.suppress(OSError):
                    far_reader, far = await asyncio.open_connection(host, port)
                    self._target = index
                    ways = [asyncio.create_task(_copy(reader, far)), asyncio.create_task(_copy(far_reader, writer))]
                    try:
                        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for way in ways:
                            way.cancel()
                        await asyncio.gather(*ways, return_exceptions=True)
                    return
        finally:
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
