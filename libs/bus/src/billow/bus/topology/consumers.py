"""The durable consumers, and those that a worker makes for its model."""

from functools import partial

from billow.bus.topology.specs import ConsumerSpec
from billow.bus.topology.streams import INFERENCE
from billow.schemas.labels import Lane

MAX_DELIVERIES = 5
"""Deliveries that may end in a crash or an unexpected error, the last one a trial alone; then it is a dead letter."""

LANES: tuple[Lane, ...] = ("interactive", "bulk")

_of_events = partial(ConsumerSpec, ack_wait=15, max_ack_pending=100_000)
"""As all have it whose messages may wait for an absent model."""

OCR = _of_events(
    stream="DOCUMENTS",
    durable="ocr",
    service="ocr",
    filters=("documents.*.submitted.*",),
    description="submitted -> recognized",
)
LAYOUT = _of_events(
    stream="DOCUMENTS",
    durable="layout",
    service="layout",
    filters=("documents.*.recognized.*",),
    description="recognized -> analyzed",
)
RECEIPT = _of_events(
    stream="DOCUMENTS",
    durable="receipt",
    service="receipt",
    filters=("documents.*.analyzed.*",),
    description="analyzed -> completed, and the record in the database",
)
RECEIPT_FAILURES = _of_events(
    stream="DEADLETTERS",
    durable="receipt-failures",
    service="receipt",
    filters=("deadletters.*.*.submitted", "deadletters.*.*.recognized", "deadletters.*.*.analyzed"),
    description="a document event that became a dead letter -> failed, and the record in the database",
)
RECEIPT_CANCELLATIONS = _of_events(
    stream="DOCUMENTS",
    durable="receipt-cancellations",
    service="receipt",
    filters=("documents.*.cancelled.*",),
    description="cancelled -> failed, and the record in the database, unless the document ended before",
)
RECEIPT_PROMOTIONS = _of_events(
    stream="DOCUMENTS",
    durable="receipt-promotions",
    service="receipt",
    filters=("documents.*.promoted.*",),
    description="promoted -> completed or failed, and the record in the database",
)
RECEIPT_ERASURES = _of_events(
    stream="DOCUMENTS",
    durable="receipt-erasures",
    service="receipt",
    filters=("documents.*.erased.*",),
    description="erased -> no record in the database any more",
)
OCR_RUNS = _of_events(
    stream="RUNS",
    durable="ocr-runs",
    service="ocr",
    filters=("runs.*.*.submitted.*",),
    description="submitted -> recognized, of a replay",
)
LAYOUT_RUNS = _of_events(
    stream="RUNS",
    durable="layout-runs",
    service="layout",
    filters=("runs.*.*.recognized.*",),
    description="recognized -> analyzed, of a replay",
)
RECEIPT_RUNS = _of_events(
    stream="RUNS",
    durable="receipt-runs",
    service="receipt",
    filters=("runs.*.*.analyzed.*",),
    description="analyzed -> completed, of a replay; not in the database",
)
CONSUMERS: tuple[ConsumerSpec, ...] = (
    OCR,
    LAYOUT,
    RECEIPT,
    RECEIPT_FAILURES,
    RECEIPT_CANCELLATIONS,
    RECEIPT_PROMOTIONS,
    RECEIPT_ERASURES,
    OCR_RUNS,
    LAYOUT_RUNS,
    RECEIPT_RUNS,
)


def inference_consumer(task: str, model: str, lane: Lane) -> ConsumerSpec:
    """The one consumer of a model's lane; every worker of the model shares it."""
    return ConsumerSpec(
        stream=INFERENCE.name,
        durable=f"{model}_{lane}",
        service="worker",
        filters=(f"inference.{task}.{model}.{lane}.*",),
        ack_wait=10,
        max_ack_pending=1_024,
        description=f"{task} by {model}, {lane}",
    )
