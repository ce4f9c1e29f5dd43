"""Where the time of a document goes."""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager


class Stopwatch:
    """Milliseconds by stage; the same stage measured twice adds up."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def add(self, stage: str, ms: float) -> None:
        """Count `ms` towards `stage`."""
        self.ms[stage] = round(self.ms.get(stage, 0.0) + ms, 3)

    def sum(self, stages: Iterable[str]) -> float:
        """ms of these stages together; 0 for those that did not happen."""
        return sum(self.ms.get(stage, 0.0) for stage in stages)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure the wall time of a block, also when it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - started) * 1000)
