"""One inbox for many requests that are answered by many messages, or answered later."""

import asyncio
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.thrifty import ThriftyClient


class Replies:
    """Hands each reply to whom it is for. One subscription, made once, which survives reconnects."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._listeners: dict[str, Callable[[Msg], None]] = {}
        self._count = 0
        self._subscribed: asyncio.Task[Subscription] | None = None

    async def open(self, listener: Callable[[Msg], None]) -> str:
        """A new subject to reply to. `listener` gets all that arrives there, and must not block, until `close`.

        Raises:
            nats.errors.Error: the connection is closed.
        """
        if self._subscribed is None or not self._subscribed.done() or self._subscribed.exception():
            await self._subscribe()
        self._count += 1
        subject = f"{self._inbox}.{self._count}"
        self._listeners[subject] = listener
        return subject

    async def _subscribe(self) -> None:
        if self._subscribed is None or self._subscribed.done():
            self._subscribed = asyncio.create_task(self._listen(f"{self._inbox}.*"))
        await asyncio.shield(self._subscribed)

    async def _listen(self, subject: str) -> Subscription:
        if isinstance(self._client, ThriftyClient):
            return await self._client.listen(subject, self._hand_over)

        async def hand_over(message: Msg) -> None:
            self._hand_over(message)

        return await self._client.subscribe(subject, cb=hand_over)  # pyright: ignore[reportUnknownMemberType]

    def close(self, subject: str) -> None:
        """Ignore what still arrives on `subject`."""
        self._listeners.pop(subject, None)

    def _hand_over(self, message: Msg) -> None:
        listener = self._listeners.get(message.subject)
        if listener is not None:
            listener(message)
