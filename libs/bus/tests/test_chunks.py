"""The pieces of the pipelines: the byte budget and the digest that runs along."""

import asyncio
import hashlib
import os

import pytest

from billow.bus.budget import ByteBudget
from billow.bus.digests import RunningDigest, sha256_of


async def test_budget_serves_in_turn_and_never_gives_too_much() -> None:
    budget = ByteBudget(10)
    order: list[int] = []
    held = 0

    async def use(number: int, size: int) -> None:
        nonlocal held
        async with budget.held(size):
            held += min(size, 10)
            assert held <= 10
            order.append(number)
            for _ in range(3):
                await asyncio.sleep(0)
            held -= min(size, 10)

    sizes = (6, 6, 1, 10, 1, 25, 3)
    async with asyncio.timeout(10):
        await asyncio.gather(*(use(number, size) for number, size in enumerate(sizes)))
    assert order == list(range(len(sizes)))
    assert await budget.take(10) == 10


async def test_budget_forgets_who_gave_up() -> None:
    budget = ByteBudget(10)
    await budget.take(8)
    large = asyncio.create_task(budget.take(9))
    small = asyncio.create_task(budget.take(2))
    await asyncio.sleep(0)
    assert not small.done()
    large.cancel()
    async with asyncio.timeout(10):
        assert await small == 2
        budget.give(8)
        budget.give(2)
        assert await budget.take(10) == 10


async def test_budget_returns_what_was_granted_to_one_who_gave_up_at_that_moment() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    waiting = asyncio.create_task(budget.take(10))
    await asyncio.sleep(0)
    budget.give(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(10):
        assert await budget.take(10) == 10


@pytest.mark.parametrize("sizes", [[], [0], [1], [100] * 5, [300_000] * 7, [1, 5_000_000, 2], [131_072] * 40])
async def test_running_digest_is_the_digest(sizes: list[int]) -> None:
    chunks = [os.urandom(size) for size in sizes]
    digest = RunningDigest()
    for chunk in chunks:
        digest.feed(chunk)
        await asyncio.sleep(0)
    whole = b"".join(chunks)
    assert await digest.finish() == hashlib.sha256(whole).digest() == await sha256_of(whole)
