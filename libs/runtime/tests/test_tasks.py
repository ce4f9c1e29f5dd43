import asyncio

from billow.runtime.tasks import end_task, end_tasks


async def test_a_task_that_swallows_its_first_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await end_task(task)
    assert task.cancelled() and swallowed == 1


async def test_what_a_task_raises_while_it_ends_is_not_passed_on() -> None:
    async def bad() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise OSError("late")

    async def done() -> None:
        pass

    tasks = [asyncio.create_task(bad()), asyncio.create_task(done())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    await end_task(None)
    assert all(task.done() for task in tasks)
