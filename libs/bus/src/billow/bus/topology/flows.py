"""Who says what, and who listens: events, and everything else that crosses the wire."""

from typing import Literal

import msgspec

from billow.bus.topology.consumers import (
    LAYOUT,
    LAYOUT_RUNS,
    OCR,
    OCR_RUNS,
    RECEIPT,
    RECEIPT_CANCELLATIONS,
    RECEIPT_ERASURES,
    RECEIPT_PROMOTIONS,
    RECEIPT_RUNS,
)
from billow.bus.topology.specs import ConsumerSpec
from billow.bus.topology.streams import DEADLETTERS, INFERENCE, RESULTS, SHADOWS
from billow.schemas.events import (
    Analyzed,
    Cancelled,
    Completed,
    DocumentEvent,
    Erased,
    Failed,
    Promoted,
    Recognized,
    Submitted,
)
from billow.schemas.inference import InferenceResult, InferenceWork
from billow.schemas.presence import ModelPresence
from billow.schemas.routing import Comparison, Route
from billow.schemas.tenants import TenantPolicy


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Who says an event and who listens."""

    event: type[DocumentEvent]
    published_by: tuple[str, ...]
    """Services, `client` for any backend, `operator` for the commands that replay, promote and erase."""
    consumed_by: tuple[ConsumerSpec, ...] = ()
    in_runs_by: tuple[str, ...] = ()
    """Who says it of a replay, under `runs`."""


FLOWS: tuple[Flow, ...] = (
    Flow(event=Submitted, published_by=("client",), in_runs_by=("operator",), consumed_by=(OCR, OCR_RUNS)),
    Flow(
        event=Recognized,
        published_by=("ocr",),
        in_runs_by=("ocr", "operator"),
        consumed_by=(LAYOUT, LAYOUT_RUNS),
    ),
    Flow(event=Analyzed, published_by=("layout",), in_runs_by=("layout",), consumed_by=(RECEIPT, RECEIPT_RUNS)),
    Flow(event=Completed, published_by=("receipt",), in_runs_by=("receipt",)),
    Flow(event=Failed, published_by=("receipt",), in_runs_by=("receipt",)),
    Flow(
        event=Cancelled,
        # The services state what they only heard on the core subject, before they drop the document.
        published_by=("client", "ocr", "layout"),
        in_runs_by=("ocr", "layout", "operator"),
        consumed_by=(RECEIPT_CANCELLATIONS,),
    ),
    Flow(event=Promoted, published_by=("operator",), consumed_by=(RECEIPT_PROMOTIONS,)),
    Flow(
        # The receipt service applies the retention of tenants.
        event=Erased,
        published_by=("operator", "receipt"),
        consumed_by=(RECEIPT_ERASURES,),
    ),
)


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What crosses the wire and is no event of a document."""

    name: str
    address: str
    """Subject, its variable tokens in braces."""
    description: str
    message: type[msgspec.Struct] | None
    """None where a message of any kind is carried whole."""
    encoding: Literal["json", "msgpack"] = "json"
    stored_in: str = ""
    """Stream or bucket; empty where nobody keeps it."""
    published_by: tuple[str, ...]
    received_by: tuple[str, ...]


_SERVICES = ("ocr", "layout", "receipt")

EXCHANGES: tuple[Exchange, ...] = (
    Exchange(
        name="work",
        address="inference.{task}.{model}.{lane}.{tenant}",
        description="One request to one model.",
        message=InferenceWork,
        encoding="msgpack",
        stored_in=INFERENCE.name,
        published_by=("ocr", "layout"),
        received_by=("worker",),
    ),
    Exchange(
        name="result",
        address="results.{tenant}.{task}.{request_id}",
        description="What a worker made of a request.",
        message=InferenceResult,
        encoding="msgpack",
        stored_in=RESULTS.name,
        published_by=("worker",),
        received_by=("ocr", "layout"),
    ),
    Exchange(
        name="deadletter",
        address="deadletters.{tenant}.{service}.{event}",
        description="A message that could not be processed, whole, with the reason in its headers `Billow-Dead-*`.",
        message=None,
        stored_in=DEADLETTERS.name,
        published_by=(*_SERVICES, "worker"),
        received_by=("receipt", "operator"),
    ),
    Exchange(
        name="comparison",
        address="shadows.{tenant}.{task}.{model}",
        description="What a shadow model made of work that another model did.",
        message=Comparison,
        stored_in=SHADOWS.name,
        published_by=("ocr", "layout"),
        received_by=("operator",),
    ),
    Exchange(
        name="cancellation",
        address="cancelled.{tenant}.{document_id}",
        description="The event `cancelled` once more, for whoever works on the document now. Nobody keeps it.",
        message=Cancelled,
        published_by=("client",),
        received_by=(*_SERVICES, "worker"),
    ),
    Exchange(
        name="presence",
        address="$KV.MODELS.{model}.{worker}",
        description="A worker says of itself what it serves, every five seconds.",
        message=ModelPresence,
        stored_in="MODELS",
        published_by=("worker",),
        received_by=("client", "ocr", "layout", "operator"),
    ),
    Exchange(
        name="route",
        address="routes.{task}",
        description="Which model does a task from now on; the server says each change in ROUTES again.",
        message=Route,
        stored_in="ROUTES",
        published_by=("operator",),
        received_by=("ocr", "layout"),
    ),
    Exchange(
        name="policy",
        address="tenants.{tenant}",
        description="What a tenant may do from now on; the server says each change in TENANTS again.",
        message=TenantPolicy,
        stored_in="TENANTS",
        published_by=("operator",),
        received_by=("client", "receipt"),
    ),
)
