"""Makes the changes of a plan."""

from collections.abc import Callable, Sequence

import structlog

from billow.bus.connection import Bus
from billow.bus.planning.configs import Site, consumer_config, creation
from billow.bus.planning.differences import differences, merged
from billow.bus.planning.places import forget_place, note_place, noted_place
from billow.bus.planning.plan import Change, make_plan
from billow.bus.planning.server import Server
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import UsageError

log = structlog.get_logger()


class DestructiveError(UsageError):
    """A plan has changes that destroy something, and nobody said that it may. Nothing was changed."""


async def apply_changes(
    bus: Bus,
    changes: Sequence[Change],
    *,
    allow_destructive: bool = False,
    progress: Callable[[Change], None] = lambda _: None,
) -> None:
    """Make the changes one after another, each told to `progress` once it is made.

    After an error those before it are made; planning and applying again goes on from there.

    Raises:
        DestructiveError: one of them destroys something and that is not allowed; none was made.
        TransientError: the server did not answer.
        PermanentError: it refuses.
    """
    if not allow_destructive:
        refuse_destructive(changes)
    server = Server(bus)
    for change in changes:
        if change.kind == "stream":
            await _change_stream(server, change)
        else:
            await _change_consumer(server, change)
        log.debug("topology", action=change.action, kind=change.kind, stream=change.stream, name=change.name)
        progress(change)


def refuse_destructive(changes: Sequence[Change]) -> None:
    """Raises DestructiveError if one of these destroys something."""
    if destructive := [change for change in changes if change.destroys]:
        names = ", ".join(f"{change.action} {change.kind} {change.name}" for change in destructive)
        raise DestructiveError(
            f"Nothing was changed, as this would destroy something: {names}. Look at it with `billow topology plan`, "
            "and say --allow-destructive if it is meant."
        )


async def apply_topology(bus: Bus, site: Site | None = None) -> tuple[Change, ...]:
    """Plan, and make all changes that destroy nothing; returns those that are left for a person to decide.

    Doing it again changes nothing. For whoever owns the server; services at a start use `provision`. Raises as
    `apply_changes`.
    """
    plan = await make_plan(bus, site)
    await apply_changes(bus, [change for change in plan.changes if not change.destroys])
    return plan.destructive


async def change_consumer(bus: Bus, spec: ConsumerSpec) -> None:
    """Make one consumer what `spec` says, whether it is there or not; its position in the stream stays.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses, as where the stream is missing or a field can never be changed.
    """
    server, config = Server(bus), consumer_config(spec)
    if (found := await server.consumer(spec.stream, spec.durable)) is None:
        place = await noted_place(server, spec.stream, spec.durable)
        await server.make_consumer(spec.stream, creation(config) | place, "create")
    elif differences(config, found["config"]):
        await server.make_consumer(spec.stream, merged(config, found["config"]), "update")


async def _change_stream(server: Server, change: Change) -> None:
    if change.action in {"recreate", "delete"}:
        await server.find(f"STREAM.DELETE.{change.name}")
    if change.action == "update":
        await server.ask(f"STREAM.UPDATE.{change.name}", change.config)
    elif change.action != "delete":
        await server.ask(f"STREAM.CREATE.{change.name}", change.config)


async def _change_consumer(server: Server, change: Change) -> None:
    stream, name = change.stream, change.name
    if change.action == "update":
        await server.make_consumer(stream, change.config, "update")
        return
    if change.action == "recreate":
        await note_place(server, stream, name)
    if change.action in {"recreate", "delete"}:
        await server.find(f"CONSUMER.DELETE.{stream}.{name}")
    if change.action != "delete":
        await server.make_consumer(stream, change.config | await noted_place(server, stream, name), "create")
    await forget_place(server, stream, name)
