# pyright: reportUnknownMemberType=false
"""The server's JSON API for streams and consumers, in its own words: what a newer server knows more is kept."""

import contextlib
from typing import Any, cast

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.runtime.errors import TransientError

Answer = dict[str, Any]

_SECONDS = 10.0
_LOOKS, _LOOK_SECONDS = 4, 3.0
"""A question is lost with the server that had it, and looking again changes nothing."""


class Server:
    """Asks and tells JetStream, through the domain of the connection.

    All methods raise TransientError when the server does not answer, as for who may not ask, and PermanentError when it
    refuses.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(self, what: str, body: Answer | None = None) -> Answer:
        """One question to `$JS.API.<what>`.

        Raises:
            TransientError: the server did not answer.
            PermanentError: it refuses.
        """
        with translated(what):
            return await self._ask(what, body)

    async def find(self, what: str, body: Answer | None = None) -> Answer | None:
        """As `ask`, None where there is no such thing."""
        with translated(what):
            try:
                return await self._ask(what, body)
            except nats.js.errors.NotFoundError:
                return None

    async def stream(self, name: str) -> Answer | None:
        """Configuration and state of a stream."""
        return await self.find(f"STREAM.INFO.{name}")

    async def consumer(self, stream: str, name: str) -> Answer | None:
        """Configuration and state of a consumer; None also where its stream is not there."""
        return await self.find(f"CONSUMER.INFO.{stream}.{name}")

    async def streams(self) -> list[Answer]:
        """All streams, those behind buckets too."""
        return await self._all("STREAM.LIST", "streams")

    async def consumers(self, stream: str) -> list[Answer]:
        """All consumers of a stream."""
        return await self._all(f"CONSUMER.LIST.{stream}", "consumers")

    async def make_consumer(self, stream: str, config: Answer, action: str) -> bool:
        """Create (`create`) or change (`update`) a consumer; False if there is no such stream.

        The subject carries its filter, which a workstation's permission can name.
        """
        subject = f"CONSUMER.CREATE.{stream}.{config['name']}"
        if config.get("filter_subject"):
            subject += f".{config['filter_subject']}"
        body = {"stream_name": stream, "config": config, "action": action}
        return await self.find(subject, body) is not None

    async def _all(self, what: str, key: str) -> list[Answer]:
        found: list[Answer] = []
        while True:
            page = await self.ask(what, {"offset": len(found)})
            entries = cast("list[Answer]", page.get(key) or [])
            found += entries
            if not entries or len(found) >= page.get("total", 0):
                return found

    async def _look(self, what: str, data: bytes) -> Msg:
        for _ in range(_LOOKS - 1):
            with contextlib.suppress(nats.errors.TimeoutError):
                return await self._request(what, data, _LOOK_SECONDS)
        return await self._request(what, data, _LOOK_SECONDS)

    async def _request(self, what: str, data: bytes, seconds: float) -> Msg:
        return await self._bus.client.request(f"{self._bus.api_prefix}.{what}", data, timeout=seconds)

    async def _ask(self, what: str, body: Answer | None) -> Answer:
        data = msgspec.json.encode(body) if body else b""
        message = await (self._look(what, data) if ".INFO." in what else self._request(what, data, _SECONDS))
        try:
            answer = msgspec.json.decode(message.data, type=dict[str, Any])
        except msgspec.DecodeError as e:
            raise TransientError(f"{what}: the answer cannot be read ({e})", delay=2) from e
        if "error" in answer:
            nats.js.errors.APIError.from_error(answer["error"])
        return answer
