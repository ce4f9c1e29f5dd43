"""How a worker is doing."""

import pytest

from billow.services.worker.statistics import WorkerStatistics, resident_mb


def test_rates_and_percentiles_are_of_the_last_minute() -> None:
    now = 0.0
    statistics = WorkerStatistics(max_batch=4, clock=lambda: now)
    statistics.count(4, 900.0)
    now = 100.0
    for n in range(20):
        statistics.count(2, float(n))
    now = 130.0
    assert statistics.requests == 44
    assert statistics.requests_per_s() == pytest.approx(40 / 60)
    assert statistics.percentile_ms(0.5) == 10
    assert statistics.percentile_ms(0.95) == 19
    assert statistics.batch_fill() == pytest.approx(0.5)
    now = 161.0
    assert (statistics.requests_per_s(), statistics.percentile_ms(0.5), statistics.batch_fill()) == (0, 0, 0)


def test_memory_is_that_of_this_process() -> None:
    assert 5 < resident_mb() < 100_000
