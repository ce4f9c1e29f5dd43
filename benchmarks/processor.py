"""Processor time of processes that a measurement started."""

import contextlib
from collections.abc import Iterable

import psutil

Seconds = dict[int, float]
"""Process id -> processor time since it started, s."""


def seconds_of(roots: Iterable[int]) -> Seconds:
    """Of these processes and all that they started; those that are gone are left out."""
    seconds: Seconds = {}
    for root in roots:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(root)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    seconds[one.pid] = times.user + times.system
    return seconds


def spent(before: Seconds, after: Seconds) -> float:
    """s in between; a process that is new counts in full, one that has ended does not."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
