"""Our image store against the stock NATS object store and against one plain message, in one run on one server.

    uv run python benchmarks/image_store.py [--rounds 15] [--url nats://...]

Rounds of all ways are interleaved, so that a busy moment of the machine hits all alike; the tables show medians and,
less disturbed by others, the best of all rounds. The yardstick is one message of the same size read by direct get. The
last column is what sha256 alone takes, which both stores compute on put and on get.
"""

import argparse
import asyncio
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable

import nats
from nats.aio.client import Client

from billow.bus.embedded import EmbeddedServer
from billow.bus.images import ImageStore

SIZES_KIB = (128, 512, 1024, 2048, 4096)
WAYS = ("stock put", "stock get", "our put", "our get", "message put", "message get", "sha256")


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """ms"""
    start = time.perf_counter()
    await work()
    return (time.perf_counter() - start) * 1000


async def measure(client: Client, size: int, rounds: int) -> dict[str, list[float]]:
    """ms of each of `WAYS` in each round for `size` bytes, fresh ones in each round."""
    js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
    stock = await js.create_object_store(f"stock-{size}")  # pyright: ignore[reportUnknownMemberType]
    ours = ImageStore(client)
    await ours.ensure_bucket(f"bench-{size}")
    stream = f"plain-{size}"
    await js.add_stream(  # pyright: ignore[reportUnknownMemberType]
        name=stream, subjects=[stream], allow_direct=True, max_msgs=1
    )
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        data = os.urandom(size)

        async def hash_alone(data: bytes = data) -> None:
            hashlib.sha256(data).digest()

        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "stock put": lambda data=data: stock.put("key", data),
            "stock get": lambda: stock.get("key"),
            "our put": lambda data=data: ours.put(f"bench-{size}", "key", data),
            "our get": lambda: ours.get(f"bench-{size}", "key"),
            "message put": lambda data=data: js.publish(stream, data),
            "message get": lambda: js.get_last_msg(stream, stream, direct=True),
            "sha256": hash_alone,
        }
        for way, step in steps.items():
            ms = await timed(step)
            if number:  # the first round warms up
                taken[way].append(ms)
    return taken


def show(title: str, results: dict[int, dict[str, float]]) -> None:
    """Print the times and the ratios."""
    print(f"\n{title}, ms")
    print(f"{'size':>9} " + " ".join(f"{way:>12}" for way in WAYS))
    for size, ms in results.items():
        print(f"{size // 1024:>5} KiB " + " ".join(f"{ms[way]:>12.2f}" for way in WAYS))
    columns = {
        "stock/our put": ("stock put", "our put"),
        "stock/our get": ("stock get", "our get"),
        "our put/message get": ("our put", "message get"),
        "our get/message get": ("our get", "message get"),
        "sha256/message get": ("sha256", "message get"),
    }
    print(f"\n{title}, ratios")
    print(f"{'size':>9} " + " ".join(f"{name:>20}" for name in columns))
    for size, ms in results.items():
        print(f"{size // 1024:>5} KiB " + " ".join(f"{ms[a] / ms[b]:>20.2f}" for a, b in columns.values()))


async def run(url: str, rounds: int) -> None:
    """Measure all sizes on the server at `url`."""
    async with await nats.connect(url, pending_size=16 * 1024 * 1024) as client:  # pyright: ignore[reportUnknownMemberType]
        taken = {kib * 1024: await measure(client, kib * 1024, rounds) for kib in SIZES_KIB}
    for title, statistic in (("median", statistics.median), ("best", min)):
        show(title, {size: {way: statistic(ms) for way, ms in ways.items()} for size, ways in taken.items()})


async def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--url", help="a server to use (max_payload >= 4 MiB); default: an embedded one")
    options = parser.parse_args()
    if options.url:
        await run(options.url, options.rounds)
        return
    with tempfile.TemporaryDirectory() as store:
        async with await EmbeddedServer.start(store) as server:
            await run(server.url, options.rounds)


if __name__ == "__main__":
    asyncio.run(main())
