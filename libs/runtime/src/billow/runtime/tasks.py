"""Ending asyncio tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 0.25


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait until it has ended; what it raised does not matter any more. None is ended already."""
    if task is not None:
        await end_tasks((task,))


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """As `end_task`, all at once.

    A single `cancel` is not enough: on Python 3.11 `asyncio.wait_for`, which nats-py uses for each request, swallows a
    cancellation that comes together with its result, and a loop around it would go on for ever.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen, so that nobody reports it as never retrieved
