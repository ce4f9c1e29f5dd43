# pyright: reportUnknownMemberType=false
"""Which model does a task now: `RouteTable` follows the bucket `ROUTES`, `RouteBook` changes it.

The server says every stored change again on `routes.<task>`, also over leaf nodes. So a change acts at once; who was
away then reads it within seconds.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, get_args

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.kv import KeyValue

from billow.bus import buckets
from billow.bus.buckets import DELETED, Entry, WrongRevisionError, open_bucket
from billow.bus.connection import Bus
from billow.bus.headers import one_line
from billow.bus.topology import MODELS_BUCKET, ROUTES, ROUTES_BUCKET
from billow.runtime.errors import PermanentError, TransientError, UsageError
from billow.runtime.tasks import end_task
from billow.schemas import codec
from billow.schemas.labels import Task
from billow.schemas.routing import Route, check_route

log = structlog.get_logger()

TASKS: tuple[Task, ...] = get_args(Task)

REFRESH_SECONDS = 5.0
_SAID_AGAIN = ROUTES.said_again
_BY = "Billow-Changed-By"
_NOTE = "Billow-Note"
_AT = "Billow-Changed-At"


class RouteVersion(NamedTuple):
    """One version of a task's route."""

    version: int
    """The bucket's revision: it rises with every change of any task."""
    route: Route | None
    """None where the route was removed: the services' own settings count."""
    changed_at: datetime | None
    changed_by: str
    note: str


async def ensure_routes(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Create or open the bucket `ROUTES`.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    return await open_bucket(bus, ROUTES, replicas=replicas)


class RouteTable:
    """All routes as they are now. Keep one a process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._routes: dict[str, RouteVersion] = {}
        self._changed: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None
        self._started: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._forget_reconnect: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Read all routes and follow their changes until `close`. Safe to call twice, also at the same time.

        Without an answer of the server there are no routes for now; reading them is tried again every few seconds.
        """
        if self._started is None:
            self._started = asyncio.create_task(self._start())
        await asyncio.shield(self._started)

    async def _start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())
        self._forget_reconnect = self._bus.on_reconnect(self._wake.set)
        with contextlib.suppress(nats.errors.Error):
            self._subscription = await self._bus.client.subscribe(f"{_SAID_AGAIN}.*", cb=self._on_change)
        try:
            await ensure_routes(self._bus)
        except (TransientError, PermanentError) as e:
            log.warning("the bucket of routes cannot be opened; settings count until it can", reason=str(e))
        await self._refresh()

    async def close(self) -> None:
        """Stop following. Safe to call twice."""
        self._forget_reconnect()
        self._forget_reconnect = lambda: None
        await end_task(self._keeper)
        self._keeper = None
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._bus.unsubscribe(self._subscription)
            self._subscription = None

    def current(self, task: str) -> Route | None:
        """The route of a task; None where there is none, and the service's own setting counts."""
        known = self._routes.get(task)
        return known.route if known else None

    def version(self, task: str) -> int:
        """Its version; 0 where there never was one."""
        known = self._routes.get(task)
        return known.version if known else 0

    def change(self) -> asyncio.Future[None]:
        """Done with the next change of any route. Shared: do not cancel it."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    async def _on_change(self, message: Msg) -> None:
        fields = message.headers or {}
        try:
            revision = int(fields["Nats-Sequence"])
        except (KeyError, ValueError):
            # Not said by the server: look what there is.
            self._wake.set()
            return
        task = message.subject.rpartition(".")[2]
        if revision > self.version(task):
            self._apply(task, Entry(revision, None if buckets.OPERATION in fields else message.data, fields))

    async def _keep(self) -> None:
        while self._bus.broken is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        for task in TASKS:
            before = self.version(task)
            try:
                entry = await buckets.last(self._bus, ROUTES_BUCKET, task) or Entry(0, None, {})
            except (TransientError, PermanentError) as e:
                log.debug("routes not read", task=task, reason=str(e))
                return
            known = self.version(task)
            # Older than what was known before the question: the bucket was made anew. Older than what came meanwhile
            # is only late.
            if entry.revision > known or (entry.revision < known and known == before):
                self._apply(task, entry)

    def _apply(self, task: str, entry: Entry) -> None:
        try:
            version = _version_of(entry)
        except (codec.CodecError, ValueError) as e:
            log.warning("a route that cannot be read is left aside", task=task, reason=str(e))
            return
        self._routes[task] = version
        log.info("route", task=task, version=version.version, default=version.route.default if version.route else None)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


def _version_of(entry: Entry) -> RouteVersion:
    if entry.value is None:
        at = entry.fields.get(_AT)
        return RouteVersion(
            entry.revision,
            None,
            datetime.fromisoformat(at) if at else None,
            entry.fields.get(_BY, ""),
            entry.fields.get(_NOTE, ""),
        )
    route = codec.decode(entry.value, Route, codec.JSON)
    return RouteVersion(entry.revision, route, route.changed_at, route.changed_by, route.note)


class RouteBook:
    """Reads and changes the routes of all processes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def open(self) -> None:
        """Make sure that the bucket is there.

        Raises:
            TransientError: the server did not answer.
            PermanentError: the server refuses.
        """
        await ensure_routes(self._bus)

    async def get(self, task: Task) -> RouteVersion | None:
        """The present version; None where there never was a route.

        Raises:
            TransientError: the server did not answer.
            PermanentError: the route is of a later version of Billow, code `route_unreadable`.
        """
        entry = await buckets.last(self._bus, ROUTES_BUCKET, task)
        return None if entry is None else _readable(entry, task)

    async def history(self, task: Task) -> list[RouteVersion]:
        """The last versions (64 at most), the newest first. Raises as `get`."""
        entries = await buckets.revisions(self._bus, ROUTES_BUCKET, task)
        return [_readable(entry, task) for entry in reversed(entries)]

    async def put(self, route: Route, *, expected: int) -> int:
        """Make this the route of its task; acts at once, everywhere. Returns its version.

        `expected` is the version that it replaces, 0 for none: of two who change at once only one succeeds.

        Raises:
            ValueError: the route makes no sense; see `check_route`.
            PermanentError: somebody else changed it first, code `route_changed`; nothing was done.
            TransientError: the server did not answer.
        """
        check_route(route)
        return await self._write(route.task, codec.encode(route), {}, expected)

    async def remove(self, task: Task, *, expected: int, by: str, note: str = "") -> int:
        """Take the route away, so that the services' own settings count. Its history stays. Raises as `put`."""
        fields = {**DELETED, _AT: datetime.now(UTC).isoformat(), _BY: one_line(by), _NOTE: one_line(note)}
        return await self._write(task, b"", fields, expected)

    async def roll_back(self, task: Task, version: int | None = None, *, by: str, note: str = "") -> RouteVersion:
        """Make an older version count again, as a new version; without `version` the one before the present one.

        Raises:
            UsageError: there is no such version.
            PermanentError, TransientError: as `put`.
        """
        versions = await self.history(task)
        older = versions[1:]
        wanted = next((old for old in older if version is None or old.version == version), None)
        if wanted is None:
            kept = ", ".join(str(old.version) for old in older) or "none"
            named = "no earlier version" if version is None else f"no earlier version {version}"
            raise UsageError(f"{named} of the route of {task} is kept (there are: {kept})")
        expected, note = versions[0].version, note or f"back to version {wanted.version}"
        if wanted.route is None:
            await self.remove(task, expected=expected, by=by, note=note)
        else:
            now = datetime.now(UTC)
            again = msgspec.structs.replace(wanted.route, changed_at=now, changed_by=by, note=note)
            await self.put(again, expected=expected)
        return wanted

    async def _write(self, task: Task, value: bytes, fields: dict[str, str], expected: int) -> int:
        try:
            return await buckets.put(self._bus, ROUTES_BUCKET, task, value, expected=expected, fields=fields)
        except WrongRevisionError as e:
            raise PermanentError(
                f"Somebody else changed the route of {task} meanwhile, so nothing was done. Look at it with "
                "`billow models route` and change it again if you still want to.",
                code="route_changed",
            ) from e


def _readable(entry: Entry, task: Task) -> RouteVersion:
    try:
        return _version_of(entry)
    except (codec.CodecError, ValueError) as e:
        raise PermanentError(
            f"The route of {task} cannot be read ({e}). It is of a later version of Billow: update this one, or write "
            "it anew.",
            code="route_unreadable",
        ) from e


async def is_served(bus: Bus, model: str) -> bool:
    """Whether a worker of this model has announced itself lately.

    Raises:
        TransientError: the server did not answer.
    """
    return any(entry.value is not None for entry in await buckets.revisions(bus, MODELS_BUCKET, f"{model}.*"))
