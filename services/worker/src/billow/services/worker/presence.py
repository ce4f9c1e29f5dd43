"""What this worker says of itself."""

import os
import re
import socket
from datetime import UTC, datetime

from billow.engines.manifest import Manifest
from billow.engines.protocol import Engine
from billow.schemas.presence import ModelPresence
from billow.services.worker.statistics import WorkerStatistics, resident_mb


def worker_name() -> str:
    """Host and process as one token: unique among all workers that are there at one time."""
    host = re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower())
    return f"{host[:48]}-{os.getpid()}"


class SelfDescription:
    """Describes one worker, at any moment."""

    def __init__(self, manifest: Manifest, engine: Engine, statistics: WorkerStatistics, digest: str = "") -> None:
        self.name = worker_name()
        self._manifest = manifest
        self._engine = engine
        self._statistics = statistics
        self._digest = digest
        self._started_at = datetime.now(UTC)

    def now(self) -> ModelPresence:
        """The present state; cheap."""
        statistics = self._statistics
        return ModelPresence(
            model=self._manifest.token,
            worker=self.name,
            task=self._manifest.task,
            version=self._manifest.version,
            digest=self._digest,
            device=self._engine.device,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            requests=statistics.requests,
            requests_per_s=round(statistics.requests_per_s(), 3),
            items=statistics.items,
            items_per_s=round(statistics.items_per_s(), 3),
            saved_s=round(statistics.saved_s, 3),
            p50_ms=round(statistics.percentile_ms(0.5), 1),
            p95_ms=round(statistics.percentile_ms(0.95), 1),
            batch_fill=round(statistics.batch_fill(), 3),
            memory_mb=round(resident_mb(), 1),
        )
