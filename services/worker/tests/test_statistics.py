"""How a worker is doing."""

import pytest

from billow.services.worker.statistics import WorkerStatistics, resident_mb


def test_rates_and_percentiles_are_of_the_last_minute() -> None:
    now = 0.0
    statistics = WorkerStatistics(max_batch=8, clock=lambda: now)
    statistics.count(4, 8, 900.0, 800.0)
    now = 100.0
    for n in range(20):
        statistics.count(2, 4, float(n), float(n))
    now = 130.0
    assert (statistics.requests, statistics.items) == (44, 88)
    assert statistics.requests_per_s() == pytest.approx(40 / 60)
    assert statistics.items_per_s() == pytest.approx(80 / 60)
    assert statistics.percentile_ms(0.5) == 10
    assert statistics.percentile_ms(0.95) == 19
    assert statistics.batch_fill() == pytest.approx(0.5)
    now = 161.0
    assert (statistics.requests_per_s(), statistics.percentile_ms(0.5), statistics.batch_fill()) == (0, 0, 0)


def test_a_batch_that_its_last_request_made_larger_is_full() -> None:
    statistics = WorkerStatistics(max_batch=8)
    statistics.count(2, 20, 1.0, 1.0)
    assert statistics.batch_fill() == 1


def test_what_is_saved_is_what_items_cost_lately() -> None:
    statistics = WorkerStatistics(max_batch=8)
    assert statistics.save(100) == 0, "nothing is known yet"
    statistics.count(1, 10, 5000.0, 1000.0)
    assert statistics.save(20) == pytest.approx(2.0)
    for _ in range(200):
        statistics.count(1, 10, 5000.0, 2000.0)
    assert statistics.save(20) == pytest.approx(4.0)
    assert statistics.saved_s == pytest.approx(6.0)


def test_memory_is_that_of_this_process() -> None:
    assert 5 < resident_mb() < 100_000
