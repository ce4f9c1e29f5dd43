"""The durable consumers, and those that a worker makes for its model."""

from billow.bus.topology.specs import ConsumerSpec
from billow.bus.topology.streams import INFERENCE
from billow.schemas.labels import Lane

MAX_DELIVERIES = 5
"""Deliveries that may end in a crash or an unexpected error, the last one a trial alone; then it is a dead letter."""

LANES: tuple[Lane, ...] = ("interactive", "bulk")

OCR = ConsumerSpec(
    stream="DOCUMENTS",
    durable="ocr",
    service="ocr",
    filters=("documents.*.submitted.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="submitted -> recognized",
)
LAYOUT = ConsumerSpec(
    stream="DOCUMENTS",
    durable="layout",
    service="layout",
    filters=("documents.*.recognized.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="recognized -> analyzed",
)
RECEIPT = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt",
    service="receipt",
    filters=("documents.*.analyzed.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="analyzed -> completed, and the record in the database",
)
RECEIPT_FAILURES = ConsumerSpec(
    stream="DEADLETTERS",
    durable="receipt-failures",
    service="receipt",
    filters=("deadletters.*.*.submitted", "deadletters.*.*.recognized", "deadletters.*.*.analyzed"),
    ack_wait=15,
    max_ack_pending=100_000,
    description="a document event that became a dead letter -> failed, and the record in the database",
)
RECEIPT_CANCELLATIONS = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt-cancellations",
    service="receipt",
    filters=("documents.*.cancelled.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="cancelled -> failed, and the record in the database, unless the document ended before",
)
RECEIPT_PROMOTIONS = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt-promotions",
    service="receipt",
    filters=("documents.*.promoted.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="promoted -> completed or failed, and the record in the database",
)
RECEIPT_ERASURES = ConsumerSpec(
    stream="DOCUMENTS",
    durable="receipt-erasures",
    service="receipt",
    filters=("documents.*.erased.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="erased -> no record in the database any more",
)
OCR_RUNS = ConsumerSpec(
    stream="RUNS",
    durable="ocr-runs",
    service="ocr",
    filters=("runs.*.*.submitted.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="submitted -> recognized, of a replay",
)
LAYOUT_RUNS = ConsumerSpec(
    stream="RUNS",
    durable="layout-runs",
    service="layout",
    filters=("runs.*.*.recognized.*",),
    ack_wait=15,
    max_ack_pending=100_000,
    description="recognized -> analyzed, of a replay",
)
RECEIPT_RUNS = ConsumerSpec(
    stream="RUNS",
    durable="receipt-runs",
    service="receipt",
    filters=("runs.*.*.analyzed.*",),
    ack_wait=15,
    max_ack_pending=100_000,
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
