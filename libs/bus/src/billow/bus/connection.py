# pyright: reportUnknownMemberType=false
"""One connection to the cluster, made to outlive any server of it."""

import asyncio
import contextlib
from collections.abc import Callable

import nats
import nats.errors
import structlog
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from billow.bus.replies import Replies
from billow.bus.settings import Access, Servers
from billow.bus.thrifty import ThriftyClient
from billow.runtime.errors import BillowError, StackUnreachableError

_PENDING_BYTES = 16 * 1024 * 1024
_PING_SECONDS = 10
_DENIED = "permissions violation"
_REFUSED = "authorization violation"

log = structlog.get_logger()


class Bus:
    """A connected client and its JetStream context; make one a process with `Bus.connect`."""

    def __init__(self, client: ThriftyClient, domain: str | None) -> None:
        self.client = client
        self.domain = domain
        """JetStream domain of the hub; needed behind a leaf node."""
        self.js: JetStreamContext = client.jetstream(domain=domain) if domain else client.jetstream()
        self.api_prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        self.replies = Replies(client)
        """For requests that many messages answer; one subscription, made when it is first used."""
        self._on_reconnect: list[Callable[[], None]] = []

    @classmethod
    async def connect(
        cls, url: str, *, name: str, domain: str | None = None, timeout: float = 10.0, access: Access | None = None
    ) -> "Bus":
        """Connect to any of the servers in `url` (comma-separated) and stay connected until `close`.

        Afterwards a lost connection is taken up again without end; what is published meanwhile is buffered or fails
        with a time-out that the publishers here retry. `access` is who we are; from the environment if not given.

        Raises:
            StackUnreachableError: nothing answered within `timeout` seconds, or nobody let us in.
            UsageError: the credentials cannot be used.
        """
        client = ThriftyClient()
        bus_box: list[Bus] = []
        servers = Servers(url)
        who = servers.known_as(access or Access.from_environment())
        denied: set[str] = set()
        last_error, refused = "", False

        async def on_reconnect() -> None:
            log.info("reconnected", server=client.connected_url.netloc if client.connected_url else "")
            for bus in bus_box:
                for listener in list(bus._on_reconnect):
                    listener()

        async def on_disconnect() -> None:
            if not client.is_closed:
                log.warning("disconnected from NATS, reconnecting")

        async def on_error(error: Exception) -> None:
            nonlocal last_error, refused
            last_error = str(error)
            # A reset connection may be reported after the refusal that caused it.
            refused = refused or _REFUSED in last_error.lower()
            if _DENIED in last_error.lower() and last_error not in denied:
                denied.add(last_error)
                log.warning("NATS denies this user a subject", reason=last_error)
                return
            # The client reports each refused reconnect here; `on_disconnect` has said it once already.
            log.debug("nats client", error=repr(error))

        try:
            await asyncio.wait_for(
                client.connect(
                    servers=servers.urls,
                    name=name,
                    error_cb=on_error,
                    disconnected_cb=on_disconnect,
                    reconnected_cb=on_reconnect,
                    connect_timeout=2,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                    max_reconnect_attempts=-1,
                    ping_interval=_PING_SECONDS,
                    pending_size=_PENDING_BYTES,
                    inbox_prefix=who.nats_inbox_prefix,
                    user=who.nats_user if who.nats_password else None,
                    password=who.nats_password or None,
                    token=None if who.nats_password else who.nats_user or None,
                    user_credentials=who.credentials(),
                ),
                timeout,
            )
        except (TimeoutError, OSError, nats.errors.Error) as e:
            await client.close()
            if refused:
                raise StackUnreachableError(
                    f"NATS at {servers} does not let us in. Set BILLOW_NATS_USER and BILLOW_NATS_PASSWORD, or "
                    "BILLOW_NATS_CREDENTIALS, to what its administrator gave you."
                ) from e
            reason = str(e) or last_error or "no answer"
            raise StackUnreachableError(
                f"NATS at {servers} cannot be reached ({reason}). Start it with `billow up`, or set BILLOW_NATS_URL."
            ) from e
        bus = cls(client, domain or None)
        bus_box.append(bus)
        return bus

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each reconnect; returns a function that removes it again."""
        self._on_reconnect.append(listener)
        return lambda: self._on_reconnect.remove(listener)

    @property
    def broken(self) -> BillowError | None:
        """Why this connection ended for good, as when the server ejects us; None while it lives or comes back."""
        if not self.client.is_closed:
            return None
        return BillowError(f"NATS ended the connection for good ({self.client.last_error or 'closed'}); start again.")

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Give up a subscription, also while the connection is away: otherwise it would come back with it."""
        if not self.client.is_closed:
            await subscription.unsubscribe()

    async def close(self) -> None:
        """Flush and close. Safe to call twice."""
        if self.client.is_closed:
            return
        try:
            if self.client.is_connected:
                await asyncio.wait_for(self.client.flush(), 5)
            await self.client.close()
        except (TimeoutError, nats.errors.Error, OSError):
            log.warning("closing without a flush: NATS does not answer")
            with contextlib.suppress(OSError):
                await self.client.close()

    async def __aenter__(self) -> "Bus":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
