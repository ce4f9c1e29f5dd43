"""A load of callers that each ask, wait for the answer, and ask again. Needs the standard library alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypedDict


class Order(TypedDict):
    """What a program that makes load is told, as a line of JSON."""

    callers: int
    """At once."""
    warm_up: float
    """seconds before anything counts"""
    seconds: float
    """seconds that count"""
    items: int
    """In one request."""


class Load(TypedDict):
    """What it answers."""

    items: int
    """Of the requests that were answered within the seconds that count."""
    seconds: float
    cpu_seconds: float
    """Of the program that made the load."""
    latencies_ms: list[float]
    """Of those requests."""
    errors: int
    """Requests that were not answered well at any time; the first one ends the load."""
    reason: str
    """Why the first one was not."""


async def make_load(ask: Callable[[int], Awaitable[object]], order: Order) -> Load:
    """Let all callers ask in a loop; `ask` takes a number that no other request has."""
    begins = time.perf_counter() + order["warm_up"]
    ends = begins + order["seconds"]
    latencies: list[float] = []
    reasons: list[str] = []
    numbers = iter(range(2**62))

    async def call() -> None:
        while not reasons and (asked := time.perf_counter()) < ends:
            try:
                await ask(next(numbers))
            except Exception as e:  # whatever it is, a side that fails has no rate
                reasons.append(repr(e))
                return
            answered = time.perf_counter()
            if begins <= answered < ends:
                latencies.append((answered - asked) * 1000)

    async def processor_time() -> float:
        await asyncio.sleep(max(begins - time.perf_counter(), 0))
        before = time.process_time()
        await asyncio.sleep(max(ends - time.perf_counter(), 0))
        return time.process_time() - before

    cpu = asyncio.create_task(processor_time())
    await asyncio.gather(*(call() for _ in range(order["callers"])))
    if reasons:
        cpu.cancel()
        await asyncio.gather(cpu, return_exceptions=True)
    return Load(
        items=len(latencies) * order["items"],
        seconds=order["seconds"],
        cpu_seconds=0.0 if reasons else await cpu,
        latencies_ms=latencies,
        errors=len(reasons),
        reason=reasons[0] if reasons else "",
    )
