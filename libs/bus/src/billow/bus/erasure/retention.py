# pyright: reportUnknownMemberType=false
"""How long a tenant's documents are kept: what is older is erased, by events that all replicas name alike."""

import contextlib
from datetime import UTC, datetime

from billow.bus.connection import Bus
from billow.bus.erasure.erasing import tenant_erasure
from billow.bus.erasure.messages import walk
from billow.bus.faults import translated
from billow.bus.objects import stream_name
from billow.bus.tenants import policies
from billow.bus.topology import DEADLETTERS, DOCUMENTS, RUNS, SHADOWS
from billow.schemas.events import EVENT_NAMES, Erased
from billow.schemas.subjects import images_bucket
from billow.schemas.tokens import is_token

_STEP = 60.0
"""seconds; borders are rounded down to it, so that replicas that sweep together state one event."""


async def expired(bus: Bus, *, now: datetime | None = None, step: float = _STEP) -> list[Erased]:
    """The erasures that apply each tenant's retention as of now; whether there is anything to remove is not asked.

    Stating one again within the duplicate window changes nothing, later it costs a look.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: a policy cannot be read.
    """
    now = now or datetime.now(UTC)
    return [
        _kept_for(tenant, policy.retention_s, now, step)
        for tenant, policy in sorted((await policies(bus)).items())
        if policy.retention_s is not None
    ]


async def older_than(bus: Bus, before: datetime, *, reason: str = "", tenant: str | None = None) -> list[Erased]:
    """The erasures of what was submitted before then: of all tenants, or of one.

    Raises:
        TransientError: NATS does not answer.
    """
    tenants = [tenant] if tenant is not None else await tenants_of(bus)
    return [tenant_erasure(each, before=before, reason=reason) for each in tenants]


def _kept_for(tenant: str, retention: float, now: datetime, step: float) -> Erased:
    # A retention longer than there are dates keeps everything.
    border = max(0.0, (now.timestamp() - retention) // step * step)
    return tenant_erasure(
        tenant,
        before=datetime.fromtimestamp(border, UTC),
        reason=f"retention of {retention / 86_400:g} d",
        name=f"retention-{int(border * 1000)}",
    )


async def tenants_of(bus: Bus) -> list[str]:
    """All tenants that have images or a policy.

    Raises:
        TransientError: NATS does not answer.
    """
    prefix = stream_name(images_bucket("x")).removesuffix("x")
    found = set(await policies(bus))
    with translated("listing the buckets"):
        offset = 0
        while page := await bus.js.streams_info(offset=offset):
            offset += len(page)
            names = (each.config.name or "" for each in page)
            found |= {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    return sorted(filter(is_token, found))


async def has_older(bus: Bus, tenant: str, before: datetime) -> bool:
    """Whether a stream holds anything of the tenant that was stored before then. Raises as `tenants_of`."""
    places = [
        (DOCUMENTS.name, f"documents.{tenant}.{name}.*") for type_, name in EVENT_NAMES.items() if type_ is not Erased
    ]
    places += [
        (RUNS.name, f"runs.{tenant}.>"),
        (DEADLETTERS.name, f"deadletters.{tenant}.>"),
        (SHADOWS.name, f"shadows.{tenant}.>"),
    ]
    for stream, pattern in places:
        async with contextlib.aclosing(walk(bus, stream, pattern)) as messages:
            async for oldest in messages:
                if oldest.time < before:
                    return True
                break
    return False
