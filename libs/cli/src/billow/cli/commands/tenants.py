"""`billow tenants`: reads what a person writes about limits, and shows them."""

import msgspec
from rich.console import Console
from rich.table import Table

from billow.bus.tenants import UNLIMITED, policies, policy, set_policy
from billow.cli.hub import connect
from billow.cli.moments import rate, rate_text, span, span_text
from billow.runtime.errors import UsageError
from billow.schemas.tenants import TenantPolicy, check_policy
from billow.schemas.tokens import check_token

_NONE = "none"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """As written on the command line: None leaves a limit as it is, `none` takes it away."""

    rate: str | None = None
    burst: str | None = None
    backlog: str | None = None
    keep: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return self == Change()


def changed(before: TenantPolicy, change: Change) -> TenantPolicy:
    """The policy after the change; pure.

    Raises:
        UsageError: something cannot be read, or makes no sense.
    """
    new = before
    if change.rate is not None:
        per_second = None if change.rate == _NONE else rate(change.rate)
        # A burst is one above a rate.
        new = msgspec.structs.replace(new, rate=per_second, burst=None if per_second is None else new.burst)
    if change.burst is not None:
        new = msgspec.structs.replace(new, burst=_count(change.burst, "--burst"))
    if change.backlog is not None:
        new = msgspec.structs.replace(new, max_backlog=_count(change.backlog, "--backlog"))
    if change.keep is not None:
        new = msgspec.structs.replace(new, retention_s=None if change.keep == _NONE else span(change.keep, "--keep"))
    try:
        check_policy(new)
    except ValueError as e:
        raise UsageError(f"These limits make no sense: {e}.") from e
    return new


async def show_all(out: Console, *, table: bool) -> None:
    """Print the limits of all tenants that have some.

    Raises:
        StackUnreachableError: NATS does not answer.
    """
    async with await connect("tenants") as bus:
        found = await policies(bus)
    if table and not found:
        out.print("No tenant has limits of its own.")
        return
    _print(found, out, table=table)


async def show(tenant: str, out: Console, *, table: bool) -> None:
    """Print the limits of one tenant. Raises as `show_all`, and ValueError for what is no name."""
    check_token(tenant, "tenant")
    async with await connect("tenants") as bus:
        _print({tenant: await policy(bus, tenant)}, out, table=table)


async def change(tenant: str, change: Change, out: Console, err: Console, *, table: bool) -> None:
    """Change limits of one tenant, and print them.

    Raises:
        UsageError, ValueError: what is asked for cannot be; nothing was changed.
        StackUnreachableError: NATS does not answer.
    """
    check_token(tenant, "tenant")
    async with await connect("tenants") as bus:
        new = changed(await policy(bus, tenant), change)
        await set_policy(bus, tenant, new)
    _print({tenant: new}, out, table=table)
    if new == UNLIMITED:
        err.print(f"{tenant} has no limits of its own any more.")


def _print(found: dict[str, TenantPolicy], out: Console, *, table: bool) -> None:
    if not table:
        for tenant, limits in found.items():
            line = {"tenant": tenant} | msgspec.structs.asdict(limits)
            out.file.write(msgspec.json.encode(line).decode() + "\n")
        return
    shown = Table("tenant", "rate", "burst", "backlog", "kept")
    for tenant, limits in found.items():
        shown.add_row(
            tenant,
            "any" if limits.rate is None else rate_text(limits.rate),
            "-" if limits.rate is None else f"{limits.burst_or_default():,}",
            "-" if limits.max_backlog is None else f"{limits.max_backlog:,}",
            "as the streams" if limits.retention_s is None else span_text(limits.retention_s),
        )
    out.print(shown)


def _count(text: str, option: str) -> int | None:
    if text == _NONE:
        return None
    if not text.isdecimal():
        raise UsageError(f"{option} {text!r} is not a whole number, nor none.")
    return int(text)
