# pyright: reportUnknownMemberType=false
"""What each tenant may do: the bucket `TENANTS`, written by operators, read by whoever admits or erases documents.

The server says every stored change again on `tenants.<tenant>`, also over leaf nodes. So a change acts at once; who
was away reads it within seconds.
"""

import contextlib
import time
from weakref import WeakKeyDictionary

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from billow.bus import buckets
from billow.bus.buckets import DELETED, open_bucket
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.topology import TENANTS, TENANTS_BUCKET
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.tenants import TenantPolicy, check_policy
from billow.schemas.tokens import check_token

log = structlog.get_logger()

REFRESH_SECONDS = 5.0
"""How long a policy that was read counts, where its change was not heard of."""
_ALL = f"$KV.{TENANTS_BUCKET}.*"

UNLIMITED = TenantPolicy()
"""The policy of a tenant that has none."""


async def ensure_tenants(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Create or open the bucket `TENANTS`.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    return await open_bucket(bus, TENANTS, replicas=replicas)


async def policy(bus: Bus, tenant: str) -> TenantPolicy:
    """What counts for a tenant now. Cheap: kept by the connection, and told of changes.

    Raises:
        TransientError: NATS does not answer, and nothing is known yet.
        PermanentError: it is of a later version of Billow, code `policy_unreadable`.
        ValueError: `tenant` is not a token.
    """
    table = _tables.get(bus)
    if table is None:
        table = _tables[bus] = _PolicyTable()
    return await table.get(bus, check_token(tenant, "tenant"))


async def set_policy(bus: Bus, tenant: str, policy: TenantPolicy) -> int:
    """Make this the policy of a tenant, in place of the one before; returns its revision.

    Raises:
        ValueError: the policy makes no sense, or `tenant` is not a token.
        TransientError: the server did not answer.
        PermanentError: the server refuses; only operators may write here.
    """
    check_policy(policy)
    await ensure_tenants(bus)
    return await buckets.put(bus, TENANTS_BUCKET, check_token(tenant, "tenant"), codec.encode(policy))


async def remove_policy(bus: Bus, tenant: str) -> None:
    """Let a tenant have no limits of its own any more. Safe to repeat; raises as `set_policy`."""
    await ensure_tenants(bus)
    await buckets.put(bus, TENANTS_BUCKET, check_token(tenant, "tenant"), b"", fields=DELETED)


async def policies(bus: Bus) -> dict[str, TenantPolicy]:
    """All tenants that have a policy, by name.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: one is of a later version of Billow, code `policy_unreadable`.
    """
    found: dict[str, TenantPolicy] = {}
    with translated("reading the policies of tenants"):
        try:
            # One request whatever their number, then one a tenant.
            stream = await bus.js.stream_info(f"KV_{TENANTS_BUCKET}", subjects_filter=_ALL)
        except nats.js.errors.NotFoundError:
            return {}
    for subject in sorted(stream.state.subjects or {}):
        tenant = subject.rpartition(".")[2]
        entry = await buckets.last(bus, TENANTS_BUCKET, tenant)
        if entry is not None and entry.value is not None:
            found[tenant] = _read(tenant, entry.value)
    return found


class _PolicyTable:
    """The policies that one connection asked for. It knows nothing of the connection, so that both can end."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, TenantPolicy]] = {}
        self._changes = 0
        self._follows = False

    async def get(self, bus: Bus, tenant: str) -> TenantPolicy:
        if not self._follows:
            self._follows = True
            # The subscription lives as long as the connection. Without it, age brings the changes.
            with contextlib.suppress(nats.errors.Error):
                await bus.client.subscribe(f"{TENANTS.said_again}.*", cb=self._on_change)
        known = self._known.get(tenant)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        changes = self._changes
        try:
            read = await _ask(bus, tenant)
        except TransientError as e:
            if known is None:
                raise
            log.debug("policy not read, the one before counts", tenant=tenant, reason=str(e))
            read = known[1]
        if changes == self._changes:
            self._known[tenant] = (time.monotonic() + REFRESH_SECONDS, read)
        return read

    async def _on_change(self, message: Msg) -> None:
        self._changes += 1
        self._known.pop(message.subject.rpartition(".")[2], None)


_tables: WeakKeyDictionary[Bus, _PolicyTable] = WeakKeyDictionary()


async def _ask(bus: Bus, tenant: str) -> TenantPolicy:
    entry = await buckets.last(bus, TENANTS_BUCKET, tenant)
    return UNLIMITED if entry is None or entry.value is None else _read(tenant, entry.value)


def _read(tenant: str, value: bytes) -> TenantPolicy:
    try:
        return codec.decode(value, TenantPolicy, codec.JSON)
    except codec.CodecError as e:
        raise PermanentError(
            f"The policy of {tenant} cannot be read ({e}). It is of a later version of Billow; write it anew with "
            f"`billow tenants set {tenant}`, or use that version.",
            code="policy_unreadable",
        ) from e
