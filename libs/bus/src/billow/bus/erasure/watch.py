"""Knows at once what may be erased, so that looking at each event for it costs nothing."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Erased

Name = tuple[str, str]
"""Tenant and document; the document is empty for a tenant's erasure."""

_ALL = f"documents.*.{EVENT_NAMES[Erased]}.*"


class ErasureWatch:
    """The names of all erasures: those that `load` tells, and those that are stated from now on. Keep one a process."""

    def __init__(self, bus: Bus, load: Callable[[], Awaitable[set[Name]]]) -> None:
        """`load` is asked at the start, and again after a connection was lost."""
        self._bus = bus
        self._load = load
        self._names: set[Name] = set()
        self._loaded = False
        self._subscription: Subscription | None = None
        self._forget_listener: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        self._forget_listener = self._bus.on_reconnect(self._listen_anew)
        with translated(f"subscribing to {_ALL}"):
            self._subscription = await self._bus.client.subscribe(_ALL, cb=self._on_message)  # pyright: ignore[reportUnknownMemberType]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._forget_listener is not None:
            self._forget_listener()
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)

    async def may_be_erased(self, tenant: str, document_id: str) -> bool:
        """False if it is not; True is to be looked at. Raises as `load`."""
        if not self._loaded:
            # Before the await: what is stated meanwhile is heard.
            self._loaded = True
            try:
                self._names |= await self._load()
            except BaseException:
                self._loaded = False
                raise
        return (tenant, document_id) in self._names or (tenant, "") in self._names

    def _listen_anew(self) -> None:
        self._loaded = False

    async def _on_message(self, message: Msg) -> None:
        with contextlib.suppress(codec.CodecError):
            event = codec.decode(message.data, Erased, (message.headers or {}).get(headers.CONTENT_TYPE))
            if message.subject == subjects.document(event.tenant, EVENT_NAMES[Erased], event.document_id):
                self._names.add((event.tenant, event.document_id if event.scope == "document" else ""))
