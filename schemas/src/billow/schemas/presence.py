"""What a worker says of itself while it serves a model. MessagePack or JSON in the key-value bucket `MODELS`."""

import msgspec

from billow.schemas.events import Instant
from billow.schemas.labels import Task
from billow.schemas.tokens import Token


class ModelPresence(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="model.presence.v1"):
    """One worker, now. It is said again every few seconds and expires when the worker is gone without a word."""

    model: Token
    worker: Token
    """Unique for the process; a host may run several workers."""
    task: Task
    version: str
    """Semantic version of the model."""
    digest: str = ""
    """What tells two models of one name and version apart: sha256 of the weights, or of a Python model's folder."""
    device: str = ""
    """Where it really runs, e.g. `cpu` or `cuda:0`."""
    host: str = ""
    pid: int = 0
    started_at: Instant
    requests: int = 0
    """Answered since the start."""
    requests_per_s: float = 0.0
    """Over the last minute."""
    items: int = 0
    """Pages, crops or documents in those requests."""
    items_per_s: float = 0.0
    """Over the last minute."""
    saved_s: float = 0.0
    """Model time since the start, seconds, that was not spent on work that nobody wanted any more; an estimate."""
    p50_ms: float = 0.0
    """Median time inside one batch, of the last minute's batches, ms."""
    p95_ms: float = 0.0
    batch_fill: float = 0.0
    """Items of a batch over the most it may take, 0..1, mean of the last minute."""
    memory_mb: float = 0.0
    """Resident memory of the process, MB of 1,000,000 bytes."""
