"""What would have to change for the server to have what is declared."""

import asyncio
from typing import Any, Literal

import msgspec

from billow.bus.connection import Bus
from billow.bus.planning.configs import (
    Config,
    Site,
    bucket_config,
    consumer_config,
    creation,
    is_marked,
    stream_config,
)
from billow.bus.planning.differences import FieldChange, differences, losses, merged, needs_recreation
from billow.bus.planning.server import Answer, Server
from billow.bus.topology import (
    BUCKETS,
    CONSUMERS,
    IMAGES_PREFIX,
    INFERENCE,
    LANES,
    STREAMS,
    ConsumerSpec,
    images_of,
    inference_consumer,
)
from billow.schemas.tokens import is_token

_OBJECTS = f"OBJ_{IMAGES_PREFIX}"
_WORK_TOKENS = 5

Action = Literal["create", "update", "recreate", "delete"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as declared, and what makes it so."""

    action: Action
    kind: Literal["stream", "consumer"]
    """A bucket is the stream behind it: `KV_<bucket>` or `OBJ_<bucket>`."""
    stream: str
    name: str
    """Of the consumer, or of the stream again."""
    fields: tuple[FieldChange, ...] = ()
    """What differs; of what is created all that is declared."""
    destroys: str = ""
    """What is lost by it, for a person; empty if nothing is. Such a change takes a word of its own to be made."""
    config: dict[str, Any] = {}
    """What the server is told."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All changes, in the order in which they are made."""

    changes: tuple[Change, ...] = ()
    foreign: tuple[str, ...] = ()
    """Streams that are not ours, and consumers of others on ours (`<stream> > <consumer>`): never touched."""

    @property
    def destructive(self) -> tuple[Change, ...]:
        """Those that cost something."""
        return tuple(change for change in self.changes if change.destroys)


async def make_plan(bus: Bus, site: Site | None = None) -> Plan:
    """Compare what is declared with what is there. Changes nothing.

    Ours are all streams, buckets and consumers with a declared name, the buckets `IMAGES_<tenant>`, the consumers of
    models, and whatever carries our mark in its metadata. Everything else is foreign.

    Raises:
        TransientError: the server did not answer.
        PermanentError: it refuses.
    """
    server, site = Server(bus), site or Site()
    found = {str(each["config"]["name"]): each for each in await server.streams()}
    wanted = _wanted_streams(found, site)
    changes: list[Change] = []
    foreign: list[str] = []
    for name, config in wanted.items():
        changes += _stream_change(config, found.get(name))
    anew = {change.stream for change in changes if change.action != "update"}
    present = sorted(name for name in wanted if name in found)
    listed = dict(zip(present, await asyncio.gather(*map(server.consumers, present)), strict=True))
    for name in wanted:
        there = {str(each["name"]): each for each in listed.get(name, ())}
        # A stream that is made anew has lost its consumers.
        declared = _wanted_consumers(name, there)
        changes += _consumer_changes(declared, {} if name in anew else there)
        foreign += [
            f"{name} > {other}"
            for other, each in there.items()
            if other not in declared and not is_marked(each["config"])
        ]
        if name not in anew:
            changes += [
                _deletion(name, each)
                for other, each in there.items()
                if other not in declared and is_marked(each["config"])
            ]
    for name in sorted(set(found) - set(wanted)):
        if is_marked(found[name]["config"]):
            changes.append(_stream_deletion(name, found[name]))
        else:
            foreign.append(name)
    return Plan(changes=tuple(changes), foreign=tuple(foreign))


def _wanted_streams(found: dict[str, Answer], site: Site) -> dict[str, Config]:
    wanted = {spec.name: stream_config(spec, site) for spec in STREAMS}
    wanted |= {spec.stream: bucket_config(spec, site) for spec in BUCKETS}
    for name, each in sorted(found.items()):
        tenant = name.removeprefix(_OBJECTS)
        if name.startswith(_OBJECTS) and is_token(tenant):
            wanted[name] = _of_tenant(bucket_config(images_of(tenant), site), each["config"])
    return wanted


def _of_tenant(config: Config, found: Config) -> Config:
    """A backend may have made the bucket, so it need not carry our mark; its age is the tenant's own, if it has any."""
    kept = ["metadata", "description", *(["max_age"] if found.get("max_age") else [])]
    return {key: value for key, value in config.items() if key not in kept}


def _wanted_consumers(stream: str, there: dict[str, Answer]) -> dict[str, ConsumerSpec]:
    if stream == INFERENCE.name:
        specs = [_of_model(each["config"]) for each in there.values()]
        return {spec.durable: spec for spec in specs if spec is not None}
    return {spec.durable: spec for spec in CONSUMERS if spec.stream == stream}


def _of_model(config: Config) -> ConsumerSpec | None:
    """What a consumer of a model should be, by its filter; None if it is none of ours."""
    tokens = str(config.get("filter_subject") or "").split(".")
    if len(tokens) != _WORK_TOKENS:
        return None
    _, task, model, lane, _ = tokens
    spec = next((inference_consumer(task, model, each) for each in LANES if each == lane), None)
    return spec if spec is not None and spec.durable == config.get("durable_name") else None


def _stream_change(wanted: Config, found: Answer | None) -> list[Change]:
    name = str(wanted["name"])
    if found is None:
        said = creation(wanted)
        return [Change(action="create", kind="stream", stream=name, name=name, fields=_all(said), config=said)]
    config, state = found["config"], _state(found)
    fields = differences(wanted, config)
    if not fields:
        return []
    if fixed := needs_recreation("stream", fields):
        destroys = (
            f"{fixed} cannot be changed: it is deleted with all {state.get('messages', 0):,} messages, and made anew"
        )
        return [
            Change(
                action="recreate",
                kind="stream",
                stream=name,
                name=name,
                fields=fields,
                destroys=destroys,
                config=creation({"num_replicas": config.get("num_replicas", 1), **wanted}),
            )
        ]
    lost = losses(fields, state, str(config.get("discard", "old")))
    told = merged(wanted, config)
    return [Change(action="update", kind="stream", stream=name, name=name, fields=fields, destroys=lost, config=told)]


def _consumer_changes(declared: dict[str, ConsumerSpec], there: dict[str, Answer]) -> list[Change]:
    changes: list[Change] = []
    for name, spec in declared.items():
        wanted, found = consumer_config(spec), there.get(name)
        if found is None:
            said = creation(wanted)
            change = Change(
                action="create", kind="consumer", stream=spec.stream, name=name, fields=_all(said), config=said
            )
        elif not (fields := differences(wanted, found["config"])):
            continue
        elif fixed := needs_recreation("consumer", fields):
            change = _recreation(spec, fields, fixed)
        else:
            told = merged(wanted, found["config"])
            change = Change(action="update", kind="consumer", stream=spec.stream, name=name, fields=fields, config=told)
        changes.append(change)
    return changes


def _recreation(spec: ConsumerSpec, fields: tuple[FieldChange, ...], fixed: str) -> Change:
    return Change(
        action="recreate",
        kind="consumer",
        stream=spec.stream,
        name=spec.durable,
        fields=fields,
        destroys=f"{fixed} cannot be changed: it is deleted and made anew from where it is; what is in hand, or was "
        "settled after something older that is not, is delivered once more",
        config=creation(consumer_config(spec)),
    )


def _deletion(stream: str, found: Answer) -> Change:
    waiting = found.get("num_pending", 0) + found.get("num_ack_pending", 0)
    return Change(
        action="delete",
        kind="consumer",
        stream=stream,
        name=str(found["name"]),
        destroys=f"not declared any more; its place in the stream is lost, with {waiting:,} messages before it",
    )


def _stream_deletion(name: str, found: Answer) -> Change:
    messages = _state(found).get("messages", 0)
    destroys = f"not declared any more; its {messages:,} messages are lost"
    return Change(action="delete", kind="stream", stream=name, name=name, destroys=destroys)


def _state(found: Answer) -> Answer:
    # A stream whose leader is away has none.
    return found.get("state") or {}


def _all(config: Config) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(key, None, value) for key, value in config.items() if key not in {"name", "metadata"})
