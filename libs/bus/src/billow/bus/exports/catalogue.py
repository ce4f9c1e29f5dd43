"""The event catalogue: a page for people who publish or consume events."""

import inspect
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import cast

import msgspec

from billow.bus.topology import (
    BUCKETS,
    CONSUMERS,
    DAY,
    EXCHANGES,
    FLOWS,
    GIB,
    HOUR,
    LANES,
    MINUTE,
    STREAMS,
    BucketSpec,
    Flow,
    StreamSpec,
    images_of,
    inference_consumer,
)
from billow.schemas.events import EVENT_NAMES, Event

_HEAD = """\
# Events

Who says what on NATS, who listens, and how long it is kept. Written by `make topology` from `billow.bus.topology`; a
change goes there. The same as AsyncAPI 3: `billow topology export asyncapi`.

Every token (tenant, document_id, run_id, model) matches `[a-z0-9_-]{1,64}`. Events are JSON, their JSON Schemas lie in
`schemas/json/`. The header `Nats-Msg-Id` is `<tenant>.<event_id>`: to say an event again changes nothing.
"""
_PLACE = """\
Streams lie in the JetStream domain of the hub, never at a workstation's site: leaf nodes have no JetStream. `billow
topology apply --replicas 3 --cluster NAME --tag TAG` says how many copies and where; what is not said stays as it is.
"""


def catalogue() -> str:
    """The page, as Markdown."""
    parts = [
        _HEAD,
        "## Events of a document\n",
        _table(("event", "tag", "published by", "consumed by"), map(_event_row, FLOWS)),
        "A replay says them under `runs.<tenant>.<run_id>.<event>.<document_id>`; they never touch the record.\n",
        *map(_event, FLOWS),
        "## Everything else\n",
        _table(
            ("subject", "is", "encoding", "kept in", "published by", "received by"),
            (
                (
                    f"`{_angled(each.address)}`",
                    each.description,
                    each.encoding if each.message else "as it was",
                    f"`{each.stored_in}`" if each.stored_in else "",
                    ", ".join(each.published_by),
                    ", ".join(each.received_by),
                )
                for each in EXCHANGES
            ),
        ),
        "## Streams\n",
        _PLACE,
        _table(("stream", "subjects", "kept", "full", "same `Nats-Msg-Id` dropped for"), map(_stream_row, STREAMS)),
        *(_reason(spec.name, spec) for spec in STREAMS),
        "",
        "## Buckets\n",
        _table(("bucket", "kept", "versions", "storage"), map(_bucket_row, (*BUCKETS, images_of("tenant")))),
        *(_reason(_bucket(spec), spec) for spec in (*BUCKETS, images_of("tenant"))),
        "",
        "## Consumers\n",
        _table(
            ("durable", "stream", "filter", "service", "does"),
            (
                (
                    f"`{_angled(spec.durable)}`",
                    f"`{spec.stream}`",
                    ", ".join(f"`{_angled(each)}`" for each in spec.filters),
                    spec.service,
                    spec.description.replace("{", "<").replace("}", ">"),
                )
                for spec in (*CONSUMERS, *(inference_consumer("{task}", "{model}", lane) for lane in LANES))
            ),
        ),
        "`billow topology export consumers` has them as JSON, for autoscaling: lag is pending + ack pending.",
    ]
    return "\n".join(parts) + "\n"


def _event_row(flow: Flow) -> Sequence[str]:
    name = EVENT_NAMES[flow.event]
    consumers = dict.fromkeys(spec.service for spec in flow.consumed_by)
    who = ", ".join(flow.published_by), ", ".join(consumers) or "clients"
    return f"[`{name}`](#{name})", f"`{_tag(flow.event)}`", *who


def _event(flow: Flow) -> str:
    name = EVENT_NAMES[flow.event]
    text = inspect.getdoc(flow.event) or ""
    listeners = [f"`{spec.durable}` ({spec.description})" for spec in flow.consumed_by]
    own = [field for field in msgspec.structs.fields(flow.event) if field.name not in Event.__struct_fields__]
    required = [f"`{field.name}`" for field in own if field.required]
    optional = [f"`{field.name}`" for field in own if not field.required]
    lines = [
        f"### {name}\n",
        f"{text}\n",
        f"- subject: `documents.<tenant>.{name}.<document_id>`",
        f"- published by: {', '.join(flow.published_by)}"
        + (f"; of a replay by {', '.join(flow.in_runs_by)}" if flow.in_runs_by else ""),
        f"- consumers: {', '.join(listeners) or 'none of ours; clients wait for it'}",
        f"- has: {', '.join(required) or 'nothing more than every event'}"
        + (f"; may have {', '.join(optional)}" if optional else ""),
        f"- schema: [`{_tag(flow.event)}`](../schemas/json/{_tag(flow.event)}.schema.json)",
        "",
    ]
    return "\n".join(lines)


def _stream_row(spec: StreamSpec) -> Sequence[str]:
    kept = "until done" if spec.retention == "workqueue" else _span(spec.max_age)
    limits = [f"{spec.max_bytes // GIB} GiB"] if spec.max_bytes > 0 else []
    if spec.max_msgs_per_subject > 0:
        limits.append(f"{spec.max_msgs_per_subject} a subject")
    then = "refuses" if spec.discard == "new" else "drops the oldest"
    subjects = ", ".join(f"`{subject}`" for subject in spec.subjects)
    return f"`{spec.name}`", subjects, kept, f"{then} at {', '.join(limits)}", _span(spec.duplicate_window)


def _bucket_row(spec: BucketSpec) -> Sequence[str]:
    return f"`{_bucket(spec)}`", _span(spec.ttl), str(spec.history), spec.storage


def _bucket(spec: BucketSpec) -> str:
    return spec.name if spec.kind == "keys" else "IMAGES_<tenant>"


def _reason(name: str, spec: StreamSpec | BucketSpec) -> str:
    return fill(f"- `{name}`: {spec.description} {spec.why}", 118, subsequent_indent="  ", break_long_words=False)


def _span(seconds: float) -> str:
    if not seconds:
        return "for ever"
    for length, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= length:
            return f"{seconds / length:g} {name}"
    return f"{seconds:g} s"


def _tag(type_: type[msgspec.Struct]) -> str:
    return str(cast("object", type_.__struct_config__.tag))


def _angled(text: str) -> str:
    return text.replace("{", "<").replace("}", ">")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
