"""Streams and consumers, declared once as data. Everything that needs to know about them reads it here."""

from typing import Literal

import msgspec

from billow.schemas.events import Analyzed, Cancelled, Completed, DocumentEvent, Failed, Recognized, Submitted
from billow.schemas.labels import Lane

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GIB = 1024**3

MAX_DELIVERIES = 5
"""Deliveries that may end in a crash or an unexpected error, the last one a trial alone; then it is a dead letter."""

LANES: tuple[Lane, ...] = ("interactive", "bulk")


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream is for and how long it keeps what it holds."""

    name: str
    subjects: tuple[str, ...]
    description: str
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["old", "new"] = "new"
    max_age: float = 0.0
    """seconds; 0 keeps for ever."""
    max_bytes: int = -1
    max_msgs_per_subject: int = -1
    discard_new_per_subject: bool = False
    duplicate_window: float = 2 * MINUTE
    """seconds in which a repeated `Nats-Msg-Id` is dropped."""


class ConsumerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A durable pull consumer. The server never gives up by itself (`max_deliver=-1`, no backoff): we do."""

    stream: str
    durable: str
    filters: tuple[str, ...]
    ack_wait: float
    """seconds until the server thinks its holder dead; a living holder says so at a third of it."""
    max_ack_pending: int
    """Messages handed out or waiting for a delayed redelivery. High where documents may wait for an absent model."""
    description: str = ""


DOCUMENTS = StreamSpec(
    name="DOCUMENTS",
    subjects=("documents.*.*.*",),
    description="The history of every document, and the source of replay.",
    max_age=90 * DAY,
    max_bytes=16 * GIB,
    duplicate_window=10 * MINUTE,
)
INFERENCE = StreamSpec(
    name="INFERENCE",
    subjects=("inference.*.*.*.*",),
    description="Work for models.",
    retention="workqueue",
    # A model that nobody serves fills its own subjects only: sixteen that are full of large pages fit.
    max_bytes=8 * GIB,
    max_msgs_per_subject=500,
    discard_new_per_subject=True,
)
RESULTS = StreamSpec(
    name="RESULTS",
    subjects=("results.*.*.*",),
    description="What workers answered, for callers that come back.",
    discard="old",
    max_age=HOUR,
    max_bytes=4 * GIB,
    max_msgs_per_subject=1,
)
DEADLETTERS = StreamSpec(
    name="DEADLETTERS",
    subjects=("deadletters.*.*.*",),
    description="What could not be processed, whole, with the reason.",
    max_age=90 * DAY,
    max_bytes=4 * GIB,
    duplicate_window=10 * MINUTE,
)
SHADOWS = StreamSpec(
    name="SHADOWS",
    subjects=("shadows.*.*.*",),
    description="What shadow models made of work that another model did, and how far they agree.",
    discard="old",
    max_age=30 * DAY,
    max_bytes=GIB,
)
STREAMS: tuple[StreamSpec, ...] = (DOCUMENTS, INFERENCE, RESULTS, DEADLETTERS, SHADOWS)

IMAGES_MAX_AGE = DOCUMENTS.max_age + DAY
"""seconds; an original outlives every event that names it, also one that is sent again a while after its upload."""

WAITS_BUCKET = "WAITS"
"""Key-value bucket: how many deliveries of a message ended in an orderly wait, which do not count as failures."""
WAITS_MAX_AGE = DOCUMENTS.max_age + DAY
"""seconds; outlives the messages it speaks of, else one that waited long would look like one that failed often."""

OCR = ConsumerSpec(
    stream="DOCUMENTS",
    durable="ocr",
    filters=("documents.*.submitted.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="submitted -> recognized",
)
LAYOUT = ConsumerSpec(
    stream="DOCUMENTS",
    durable="layout",
    filters=("documents.*.recognized.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="recognized -> analyzed",
)
RECEIPT = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt",
    filters=("documents.*.analyzed.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="analyzed -> completed, and the record in the database",
)
RECEIPT_FAILURES = ConsumerSpec(
    stream="DEADLETTERS",
    durable="receipt-failures",
    filters=("deadletters.*.*.submitted", "deadletters.*.*.recognized", "deadletters.*.*.analyzed"),
    ack_wait=15,
    max_ack_pending=100_000,
    description="a document event that became a dead letter -> failed, and the record in the database",
)
RECEIPT_CANCELLATIONS = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt-cancellations",
    filters=("documents.*.cancelled.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="cancelled -> failed, and the record in the database, unless the document ended before",
)
CONSUMERS: tuple[ConsumerSpec, ...] = (OCR, LAYOUT, RECEIPT, RECEIPT_FAILURES, RECEIPT_CANCELLATIONS)


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Who says an event and who listens."""

    event: type[DocumentEvent]
    published_by: tuple[str, ...]
    consumed_by: tuple[ConsumerSpec, ...] = ()


FLOWS: tuple[Flow, ...] = (
    Flow(event=Submitted, published_by=("client",), consumed_by=(OCR,)),
    Flow(event=Recognized, published_by=("ocr",), consumed_by=(LAYOUT,)),
    Flow(event=Analyzed, published_by=("layout",), consumed_by=(RECEIPT,)),
    Flow(event=Completed, published_by=("receipt",)),
    Flow(event=Failed, published_by=("receipt",)),
    Flow(event=Cancelled, published_by=("client",), consumed_by=(RECEIPT_CANCELLATIONS,)),
)


def inference_consumer(task: str, model: str, lane: Lane) -> ConsumerSpec:
    """The one consumer of a model's lane; every worker of the model shares it."""
    return ConsumerSpec(
        stream=INFERENCE.name,
        durable=f"{model}_{lane}",
        filters=(f"inference.{task}.{model}.{lane}.*",),
        ack_wait=10,
        max_ack_pending=1_024,
        description=f"{task} by {model}, {lane}",
    )


MODELS_BUCKET = "MODELS"
"""Key-value bucket: who serves which model now, key `<model>.<worker>`."""
MODELS_MAX_AGE = 15.0
"""seconds without a word after which a worker counts as gone"""

ROUTES_BUCKET = "ROUTES"
"""Key-value bucket: which model does a task, key `<task>`; its revision is the route's version."""
ROUTES_HISTORY = 64
"""Versions of a route that can be seen and rolled back to."""
