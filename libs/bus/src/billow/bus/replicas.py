"""Any replica may answer a direct get, also one that is behind the others for a moment."""

import asyncio
import time

from billow.bus.history import History

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


async def first_from(history: History, sequence: int, *, patience: float) -> int | None:
    """Sequence of the first message at `sequence` or above that is left, of a replica that has come so far.

    Whoever holds a later message holds all before it, so the answer is not that of one that is behind. For a place that
    the stream has reached already. None after `patience` seconds: what lay there, and all after it, was taken out.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: the server refuses.
    """
    until, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        if page := await history.page(">", start=sequence, limit=1, patience=patience):
            return page[0].sequence
        if time.monotonic() >= until:
            return None
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
