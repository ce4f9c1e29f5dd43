"""The topology as an AsyncAPI 3.0 document."""

import inspect
from collections.abc import Iterable
from importlib import metadata
from typing import Any, cast

import msgspec

from billow.bus.topology import DOCUMENTS, EXCHANGES, FLOWS, RUNS, ConsumerSpec, Exchange, Flow
from billow.schemas.events import EVENT_NAMES
from billow.schemas.export import EXPORTED

Json = dict[str, Any]

_CONTENT = {"json": "application/json", "msgpack": "application/vnd.msgpack"}
_PARAMETERS = {
    "tenant": "Whose document it is.",
    "document_id": "What the client gave or got when it handed the document in.",
    "run_id": "The replay that it belongs to.",
    "task": "What a model is asked to do.",
    "model": "Name and version of a model.",
    "lane": "`interactive` or `bulk`.",
    "request_id": "Hash of document, run, model and payload.",
    "service": "Who could not process it.",
    "event": "Name of the event, or of the task, that could not be processed.",
    "worker": "One process that serves a model.",
}
_REF = "#/components/schemas/{name}"


def asyncapi() -> Json:
    """Channels, who sends and receives what on them, and the JSON Schema of every message."""
    channels: Json = {}
    operations: Json = {}
    messages: Json = {}
    for flow in FLOWS:
        _add_event(flow, channels, operations, messages)
    for exchange in EXCHANGES:
        _add_exchange(exchange, channels, operations, messages)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Billow",
            "version": metadata.version("billow-bus"),
            "description": "Photos and PDFs of receipts and invoices in, structured records out. Events travel over "
            "NATS JetStream. Every token matches `[a-z0-9_-]{1,64}`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _CONTENT["json"],
        "servers": {
            "hub": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "As `billow up` starts it."},
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas()},
    }


def asyncapi_bytes() -> bytes:
    """The document as JSON, indented, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(asyncapi()), indent=2) + b"\n"


def _add_event(flow: Flow, channels: Json, operations: Json, messages: Json) -> None:
    name = EVENT_NAMES[flow.event]
    messages[name] = _message(flow.event, "json")
    places = (
        ("", f"documents.{{tenant}}.{name}.{{document_id}}", DOCUMENTS.name, flow.published_by),
        ("run_", f"runs.{{tenant}}.{{run_id}}.{name}.{{document_id}}", RUNS.name, flow.in_runs_by),
    )
    for prefix, address, stream, publishers in places:
        if not publishers:
            continue
        channel = f"{prefix}{name}"
        channels[channel] = _channel(address, stream, name)
        for who in publishers:
            operations[f"{who}_sends_{channel}"] = _operation("send", who, channel, name)
        for spec in (spec for spec in flow.consumed_by if spec.stream == stream):
            operations[f"{spec.service}_receives_{channel}"] = _consumption(spec, channel, name)


def _add_exchange(exchange: Exchange, channels: Json, operations: Json, messages: Json) -> None:
    messages[exchange.name] = _message(exchange.message, exchange.encoding, exchange.description)
    channels[exchange.name] = _channel(exchange.address, exchange.stored_in, exchange.name, exchange.description)
    for action, verb, names in (
        ("send", "sends", exchange.published_by),
        ("receive", "receives", exchange.received_by),
    ):
        for who in names:
            operations[f"{who}_{verb}_{exchange.name}"] = _operation(action, who, exchange.name, exchange.name)


def _message(type_: type[msgspec.Struct] | None, encoding: str, description: str = "") -> Json:
    if type_ is None:
        return {"title": "Any message", "description": description, "payload": {}}
    return {
        "name": type_.__name__,
        "title": _first_line(type_),
        "contentType": _CONTENT[encoding],
        "payload": {"$ref": _REF.format(name=type_.__name__)},
    }


def _channel(address: str, stored_in: str, message: str, description: str = "") -> Json:
    tokens = [token[1:-1] for token in address.split(".") if token.startswith("{")]
    return {
        "address": address,
        **({"description": description} if description else {}),
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {token: {"description": _PARAMETERS[token]} for token in tokens},
        "servers": [{"$ref": "#/servers/hub"}],
        **({"x-stored-in": stored_in} if stored_in else {}),
    }


def _operation(action: str, who: str, channel: str, message: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "tags": [{"name": who}],
    }


def _consumption(spec: ConsumerSpec, channel: str, message: str) -> Json:
    return {
        **_operation("receive", spec.service, channel, message),
        "summary": spec.description,
        "x-jetstream": {"stream": spec.stream, "durable": spec.durable},
    }


def _first_line(type_: type[msgspec.Struct]) -> str:
    return (inspect.getdoc(type_) or type_.__name__).splitlines()[0]


def _schemas() -> Json:
    types: list[type[msgspec.Struct]] = [
        *EXPORTED.values(),
        *(flow.event for flow in FLOWS),
        *(exchange.message for exchange in EXCHANGES if exchange.message is not None),
    ]
    _, components = msgspec.json.schema_components(dict.fromkeys(types), ref_template=_REF)
    return cast("Json", _as_draft_07(components))


def _as_draft_07(schema: Any) -> Any:
    """What AsyncAPI understands: its schemas are JSON Schema draft 07, ours are 2020-12."""
    if isinstance(schema, list):
        return [_as_draft_07(each) for each in cast("Iterable[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    told = {key: _as_draft_07(value) for key, value in cast("Json", schema).items()}
    if "prefixItems" in told:
        # Draft 07 has the places of a tuple under `items`, and what may follow them beside it.
        told["additionalItems"] = told.pop("items", True)
        told["items"] = told.pop("prefixItems")
    if isinstance(told.get("discriminator"), dict):
        # Each variant names itself by a constant anyway.
        told.pop("discriminator")
    return told
