"""Callers over the bus, in a process of their own: `python -m benchmarks.bus_callers URL MODEL PICTURE...`.

A line of JSON on standard input is an order of `load.py`; each request then sends the next pictures, in turn, to the
recogniser MODEL. The answer is a line with what it came to. The order `{"check": true}` asks for one text a picture.
"""

import asyncio
import itertools
import json
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.load import Load, Order, make_load
from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.runtime.logs import configure_logs
from billow.schemas.events import ImageRef, Submitted, event_id
from billow.schemas.inference import Recognitions, RecognizeCrops
from billow.schemas.subjects import original_key


class Callers:
    """Many callers on one connection."""

    def __init__(self, bus: Bus, model: str, pictures: list[bytes]) -> None:
        self._client = InferenceClient(bus, wait=60.0)
        self._model = model
        self._pictures = pictures

    async def ask(self, name: str, crops: tuple[bytes, ...]) -> tuple[str, ...]:
        """The texts of some pictures, on behalf of a document: the same question twice would be one question."""
        event = Submitted(
            tenant="default",
            document_id=name,
            event_id=event_id("submitted", name, 1),
            occurred_at=datetime.now(UTC),
            image=ImageRef(key=original_key(name)),
        )
        result = await self._client.call(
            event,
            RecognizeCrops(crops=crops),
            task="text-recognition",
            model=self._model,
            lane="interactive",
            again=False,
        )
        if not isinstance(result.output, Recognitions) or len(result.output.texts) != len(crops):
            raise ValueError(f"no text for each of {len(crops)} crops")
        return result.output.texts

    async def check(self) -> dict[str, list[str]]:
        """One text a picture."""
        names = (f"check-{secrets.token_hex(8)}" for _ in self._pictures)
        return {"texts": [(await self.ask(name, (one,)))[0] for name, one in zip(names, self._pictures, strict=True)]}

    async def load(self, order: Order) -> Load:
        """One order."""
        turns = itertools.cycle(self._pictures)
        run = secrets.token_hex(8)
        return await make_load(
            lambda number: self.ask(f"load-{run}-{number}", tuple(itertools.islice(turns, order["items"]))), order
        )


async def serve(url: str, model: str, pictures: list[bytes]) -> None:
    """Orders until standard input ends."""
    async with await Bus.connect(url, name="bench callers") as bus:
        callers = Callers(bus, model, pictures)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            print(json.dumps(await (callers.check() if order.get("check") else callers.load(order))), flush=True)


if __name__ == "__main__":
    # Unasked, structlog writes to standard output, where the answers go.
    configure_logs("bench", level="warning")
    _, url_, model_, *files_ = sys.argv
    asyncio.run(serve(url_, model_, [Path(file).read_bytes() for file in files_]))
