"""What Prometheus may know of a worker, since its start."""

from typing import Literal

from billow.runtime.metrics import Counter, Histogram

Outcome = Literal["answered", "refused", "given_back", "cancelled", "deadline_exceeded"]
"""`refused`: answered with an error. The last two cost no model time."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

MODEL_SECONDS = Counter("billow_model_seconds", "Wall time inside the engine.", ["model"])
MODEL_SECONDS_SAVED = Counter(
    "billow_model_seconds_saved",
    "Estimated model time of work that was dropped before it cost any.",
    ["model", "reason"],
)
REQUESTS = Counter("billow_inference_requests", "Requests by what became of them.", ["model", "outcome"])
BATCH_ITEMS = Histogram("billow_batch_items", "Pages, crops or documents in a batch.", ["model"], buckets=_ITEMS)
BATCH_SECONDS = Histogram(
    "billow_batch_duration_seconds", "From handing a batch to the model until its answers.", ["model"], buckets=_SECONDS
)
QUEUE_SECONDS = Histogram(
    "billow_queue_duration_seconds",
    "From when the queue had stored a request until a batch took it.",
    ["model"],
    buckets=_SECONDS,
)


class WorkerMetrics:
    """Those of one model."""

    def __init__(self, model: str) -> None:
        self._model = model

    def batch(self, items: int, ms: float, run_ms: float) -> None:
        """A batch took `ms`, of which `run_ms` inside the engine."""
        BATCH_ITEMS.labels(self._model).observe(items)
        BATCH_SECONDS.labels(self._model).observe(ms / 1000)
        MODEL_SECONDS.labels(self._model).inc(run_ms / 1000)

    def taken(self, queue_ms: float) -> None:
        """A request waited so long."""
        QUEUE_SECONDS.labels(self._model).observe(queue_ms / 1000)

    def ended(self, outcome: Outcome) -> None:
        """What became of a request."""
        REQUESTS.labels(self._model, outcome).inc()

    def saved(self, reason: str, seconds: float) -> None:
        """A request was dropped that would have cost so much."""
        MODEL_SECONDS_SAVED.labels(self._model, reason).inc(seconds)
