"""Where the time of a document goes."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Stopwatch:
    """Milliseconds by stage; the same stage measured twice adds up."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def add(self, stage: str, ms: float) -> None:
        """Count `ms` towards `stage`."""
        self.ms[stage] = round(self.ms.get(stage, 0.0) + ms, 3)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure the wall time of a block, also when it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - started) * 1000)
