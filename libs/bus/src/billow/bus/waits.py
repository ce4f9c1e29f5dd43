"""Remembers which redeliveries were orderly, so that a document may wait for an absent model for days.

The server counts every delivery. One that ended in a `TransientError` (a model is absent, the database restarts) is no
sign of a bad message, so it is excused here; one that ended with the process dying is not, as nobody was left to
excuse it. A process that dies takes along what else it has in hand, so before a message is given up it has a trial: it
is handled while no other such message is.
"""

import nats.js.errors
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.provision import ensure_waits


class Waits:
    """Count of excused deliveries by message, in the key-value bucket `WAITS`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket: KeyValue | None = None

    async def excused(self, message: Msg) -> int:
        """How many deliveries of this message ended in an orderly wait.

        Raises:
            TransientError: NATS does not answer.
        """
        with translated("reading waits"):
            try:
                entry = await (await self._open()).get(self._key(message))
            except (nats.js.errors.KeyNotFoundError, nats.js.errors.NotFoundError):
                return 0
        return int(entry.value or b"0")

    async def excuse(self, message: Msg) -> None:
        """Count this delivery as orderly.

        Raises:
            TransientError: NATS does not answer.
        """
        # Nothing can be known of a message that was never delivered before.
        count = await self.excused(message) if message.metadata.num_delivered > 1 else 0
        with translated("writing waits"):
            await (await self._open()).put(self._key(message), str(count + 1).encode())

    async def begin_trial(self, message: Msg) -> bool:
        """Note that the message is now handled alone, for the last time; False if that was noted before.

        Raises:
            TransientError: NATS does not answer.
        """
        key = f"{self._key(message)}.trial"
        with translated("noting a trial"):
            try:
                await (await self._open()).create(key, b"1")
            except nats.js.errors.KeyWrongLastSequenceError:
                return False
        return True

    async def end_trial(self, message: Msg) -> None:
        """The trial ended in an orderly wait: there will be another.

        Raises:
            TransientError: NATS does not answer.
        """
        with translated("ending a trial"):
            await (await self._open()).delete(f"{self._key(message)}.trial")

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await ensure_waits(self._bus)
        return self._bucket

    @staticmethod
    def _key(message: Msg) -> str:
        meta = message.metadata
        return f"{meta.stream}.{meta.consumer}.{meta.sequence.stream}"
