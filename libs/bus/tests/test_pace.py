"""A throttled replay goes out evenly."""

import time

from billow.bus.replay.pace import Pace


async def test_it_is_never_faster_than_asked_for() -> None:
    pace, began = Pace(500.0), time.monotonic()
    for _ in range(20):
        await pace.take(10)
    # The last portion is sent when those before it have had their time; a burst of 50 ms is allowed.
    assert time.monotonic() - began >= 190 / 500 - 0.06


def test_documents_leave_a_few_at_a_time() -> None:
    assert Pace(1.0).portion(64) == 1
    assert Pace(100.0).portion(64) == 6, "a few share every wake-up on their way"
    assert Pace(300.0).portion(64) == 8, "more would be felt by others"
    assert Pace(1_000_000.0).portion(64) == 64


def test_without_a_rate_there_are_full_portions() -> None:
    assert Pace(0.0).portion(64) == 64
