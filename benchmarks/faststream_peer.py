# /// script
# requires-python = ">=3.11"
# dependencies = ["faststream[nats]==0.7.8", "msgspec>=0.20"]
# ///
"""FastStream's pull subscriber as one side of the bus measurement; the orders are those of `bus_sides.py`.

Set up to be fast: no logging, the message decoded by msgspec straight from its bytes, no conversion of arguments,
acknowledged after the handler by FastStream itself.
"""

# pyright: basic, reportMissingImports=false

import asyncio
import json
import sys
import time

import msgspec
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

from billow.schemas.events import Submitted

DECODER = msgspec.json.Decoder(Submitted)


async def decode(message: NatsMessage) -> Submitted:
    """Instead of FastStream's own decoder, which would make a dict."""
    return DECODER.decode(message.body)


async def run(url: str, order: dict) -> dict[str, float]:
    """One round; wall and processor time from the first message handled to the last one."""
    broker = NatsBroker(url, logger=None, apply_types=False, pending_size=16 * 1024 * 1024)
    done = asyncio.Event()
    left = order["messages"]
    started = cpu_started = 0.0
    answer = {}

    @broker.subscriber(
        "documents.*.submitted.*",
        durable=order["durable"],
        stream=JStream("DOCUMENTS", declare=False),
        pull_sub=PullSub(batch_size=order["concurrency"], timeout=1.0),
        ack_policy=AckPolicy.REJECT_ON_ERROR,
        decoder=decode,
    )
    async def handle(event: Submitted) -> None:
        nonlocal left, started, cpu_started
        if not started:
            started, cpu_started = time.perf_counter(), time.process_time()
        left -= 1
        if left == 0:
            answer["seconds"] = time.perf_counter() - started
            answer["cpu_seconds"] = time.process_time() - cpu_started
            done.set()

    await broker.start()
    await done.wait()
    await asyncio.sleep(0.1)  # the last acknowledgements go out after their handlers
    await broker.stop()
    return answer


def main() -> None:
    """Serve rounds until standard input ends."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(run(sys.argv[1], json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
