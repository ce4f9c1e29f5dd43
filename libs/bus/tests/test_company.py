"""When a request waits for others."""

from billow.bus.company import Company

WAIT = 0.002


def test_after_a_quiet_time_nobody_waits() -> None:
    company = Company(WAIT)
    assert not company.is_coming(1)
    for n in range(50):
        company.came("bulk", in_hand=8, pending=0, now=n * 0.0001)
    assert company.is_coming(1)
    company.came("bulk", in_hand=1, pending=0, now=60.0)
    assert not company.is_coming(1)


def test_a_lone_caller_is_never_made_to_wait_for_itself() -> None:
    company = Company(WAIT)
    for n in range(100):
        # It asks again as soon as it has its answer, faster than the wait.
        company.came("interactive", in_hand=1, pending=0, now=n * WAIT / 4)
        assert not company.is_coming(1)


def test_a_crowd_is_waited_for_until_it_is_complete() -> None:
    company = Company(WAIT)
    for n in range(64):
        company.came("interactive", in_hand=n + 1, pending=0, now=n * 0.0001)
    assert not company.is_coming(64)
    company.came("interactive", in_hand=1, pending=0, now=0.01)
    assert company.is_coming(1)
    assert company.is_coming(40)


def test_a_crowd_that_went_away_is_forgotten() -> None:
    company = Company(WAIT)
    for n in range(64):
        company.came("interactive", in_hand=n + 1, pending=0, now=n * 0.0001)
    for n in range(100):
        company.came("interactive", in_hand=2, pending=0, now=0.01 + n * 0.0001)
    assert not company.is_coming(2)


def test_what_the_queue_still_has_is_waited_for_once() -> None:
    company = Company(WAIT)
    company.came("bulk", in_hand=1, pending=3, now=0.0)
    assert company.is_coming(1)
    company.did_not_come()
    assert not company.is_coming(1)
    company.came("bulk", in_hand=1, pending=2, now=60.0)
    company.came("bulk", in_hand=2, pending=0, now=61.0)
    assert not company.is_coming(2)
