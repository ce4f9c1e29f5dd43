"""Our image store against the stock NATS object store and against one plain message, in one run on one server.

    uv run python -m benchmarks.image_store [--rounds 15] [--url nats://...]
    uv run python -m benchmarks.image_store --link-ms 90

Rounds of all ways are interleaved, so that a busy moment of the machine hits all alike; the tables show medians and,
less disturbed by others, the best of all rounds. Each round has a key of its own, as each document has. The yardstick
is one message of the same size read by direct get. The last column is what sha256 alone takes, which both stores
compute on put and on get. Fails if putting or getting 4 MiB takes more than twice the yardstick.

With `--link-ms` the server is behind a link with that round trip (`benchmarks.slow_link`; with `--url` behind your
own, whose round trip is measured), and counted is how many round trips 2 MiB take beside their transfer. The transfer
is what a plain message of the same size takes, less its one round trip. Fails at three round trips or more.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import nats
from nats.aio.client import Client

from benchmarks.slow_link import SlowLink
from billow.bus.embedded import EmbeddedServer
from billow.bus.images import ImageStore

SIZES_KIB = (128, 512, 1024, 2048, 4096)
WAYS = ("stock put", "stock get", "our put", "our get", "message put", "message get", "sha256")
LARGEST = max(SIZES_KIB) * 1024
MOST_TIMES = 2.0
"""How many times as long as the yardstick 4 MiB may take."""
LINK_SIZE = 2 * 1024 * 1024
MOST_ROUND_TRIPS = 3.0


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
        data, key = os.urandom(size), f"document-{number}/original"

        async def hash_alone(data: bytes = data) -> None:
            hashlib.sha256(data).digest()

        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "stock put": lambda data=data, key=key: stock.put(key, data),
            "stock get": lambda key=key: stock.get(key),
            "our put": lambda data=data, key=key: ours.put(f"bench-{size}", key, data),
            "our get": lambda key=key: ours.get(f"bench-{size}", key),
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


async def near(client: Client, rounds: int) -> bool:
    """Measure all sizes; whether the largest is within the bar."""
    taken = {kib * 1024: await measure(client, kib * 1024, rounds) for kib in SIZES_KIB}
    medians = {size: {way: statistics.median(ms) for way, ms in ways.items()} for size, ways in taken.items()}
    show("median", medians)
    show("best", {size: {way: min(ms) for way, ms in ways.items()} for size, ways in taken.items()})
    largest, passed = medians[LARGEST], True
    print()
    for way in ("our put", "our get"):
        times = largest[way] / largest["message get"]
        passed = passed and times <= MOST_TIMES
        print(f"{way} of 4 MiB: {times:.2f} times a message by direct get, at most {MOST_TIMES:g} may be")
    return passed


async def far(client: Client, rounds: int) -> bool:
    """Count the round trips of 2 MiB over a link; whether they are within the bar."""
    trips = [await timed(client.flush) for _ in range(5)]
    trip = statistics.median(trips)
    taken = await measure(client, LINK_SIZE, rounds)
    medians = {way: statistics.median(ms) for way, ms in taken.items()}
    print(f"round trip {trip:.1f} ms; 2 MiB, median of {rounds}:")
    passed = True
    for way, plain in (
        ("our put", "message put"),
        ("our get", "message get"),
        ("stock put", "message put"),
        ("stock get", "message get"),
    ):
        transfer = max(0.0, medians[plain] - trip)
        count = (medians[way] - transfer) / trip
        print(f"  {way:9} {medians[way]:8.1f} ms = {count:5.2f} round trips + {transfer:.1f} ms of transfer")
        if way.startswith("our"):
            passed = passed and count < MOST_ROUND_TRIPS
    print(f"ours must be under {MOST_ROUND_TRIPS:g}")
    return passed


@contextlib.asynccontextmanager
async def server_url(given: str | None, link_ms: float) -> AsyncGenerator[str]:
    """The server to use; one of our own unless one is given, behind a slow link if that is asked for."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as store:
        async with await EmbeddedServer.start(store) as server:
            if not link_ms:
                yield server.url
                return
            async with SlowLink(server.port, link_ms / 1000) as link:
                yield link.url


async def main() -> bool:
    """Parse the command line and run; whether all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--url", help="a server to use (max_payload >= 4 MiB); default: an embedded one")
    parser.add_argument("--link-ms", type=float, default=0, help="round trip of the link to the server")
    options = parser.parse_args()
    async with (
        server_url(options.url, options.link_ms) as url,
        await nats.connect(url, pending_size=16 * 1024 * 1024) as client,  # pyright: ignore[reportUnknownMemberType]
    ):
        return await (far if options.link_ms else near)(client, options.rounds)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
