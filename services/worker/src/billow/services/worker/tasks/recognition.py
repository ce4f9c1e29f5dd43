"""The task `text-recognition`: crops of single lines in, texts out."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
import structlog

from billow.engines.errors import EngineError
from billow.engines.protocol import Engine
from billow.runtime.errors import PermanentError
from billow.schemas.inference import Payload, Recognitions, RecognizeCrops
from billow.schemas.record import Failure
from billow.services.worker.tasks.memory import out_of_memory, too_large
from billow.services.worker.tasks.protocol import Answer
from billow.vision.arrays import Floats, Image, as_floats
from billow.vision.media import Limits
from billow.vision.recognition import Alphabet, Batch, RecognitionParameters, plan_batches, prepare, scaled_width
from billow.vision.transport import decode_payload

log = structlog.get_logger()

WARM_UP_WIDTH = 960
"""px; buckets up to this are run before the first document where the runtime prepares itself for each shape."""


@runtime_checkable
class Spreads(Protocol):
    """An engine that can run several inputs at the same time, each on one thread.

    Lines are many and small: on two cores this took a fifth less processor time than two threads for one run.
    """

    def spread(self) -> int:
        """Switch to that, before the first run; returns how many threads may call `run()` at once."""
        ...


class TextRecognition:
    """A `TaskModel` around a CTC recogniser whose only output is (N, steps, classes), 0..1."""

    def __init__(
        self,
        engine: Engine,
        parameters: RecognitionParameters | None = None,
        alphabet: Alphabet | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Take the alphabet from the weights' `character` list unless one is given.

        Raises:
            PermanentError: `model_without_alphabet`.
        """
        self._engine = engine
        self._parameters = parameters or RecognitionParameters()
        self._limits = limits or Limits()
        if alphabet is None and "character" not in engine.metadata:
            raise PermanentError(
                "The weights do not say which characters they know. Use weights with a `character` list.",
                code="model_without_alphabet",
            )
        self._alphabet = alphabet or Alphabet.parse(engine.metadata["character"])
        self._at_once = 1
        self._pool: ThreadPoolExecutor | None = None
        self._spread = isinstance(engine, Spreads)
        if isinstance(engine, Spreads):
            self._at_once = engine.spread()
            self._parameters = msgspec.structs.replace(self._parameters, max_batch=1)
        if self._at_once > 1:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="lines")

    def warm_up(self) -> None:
        """Run once; where each new width costs something, once for every bucket up to 960 px and on every thread.

        Raises:
            ValueError: the model and the alphabet do not fit together.
        """
        step = self._parameters.width_step
        widths = [WARM_UP_WIDTH // 3 // step * step]
        # OpenVINO compiles for each width: 15 to 50 ms more than the run itself, on each of its threads.
        if self._spread or not self._engine.device.startswith("cpu"):
            widths = list(range(self._parameters.min_width, WARM_UP_WIDTH + 1, step))
        lines = [width for width in widths for _ in range(self._at_once)]
        list(self._pool.map(self._warm, lines) if self._pool else map(self._warm, lines))

    def _warm(self, width: int) -> None:
        self._alphabet.decode(self._infer(np.zeros((1, 3, self._parameters.height, width), np.float32)))

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order, with one text a crop.

        The crops of all payloads are pooled, sorted by width and run in batches of like width. A payload with a crop
        that is no picture is answered with `undecodable_payload`. A batch that takes too much memory is halved and run
        again; the payload of a line that fails alone is answered with `out_of_memory`. What else the engine raises is
        passed on.
        """
        answers: dict[int, Answer] = {}
        cuts: list[Image] = []
        owners: list[int] = []
        for index, payload in enumerate(payloads):
            try:
                own = self._decode(payload)
            except PermanentError as e:
                answers[index] = Answer(error=Failure(code=e.code, message=str(e)))
                continue
            cuts += own
            owners += [index] * len(own)
        reading = self._read(cuts, owners)
        for index in reading.too_large:
            answers[index] = Answer(error=too_large("line"), run_ms=reading.run_ms.get(index, 0.0))
        for index in range(len(payloads)):
            if index not in answers:
                own_lines = [line for line, owner in zip(reading.lines, owners, strict=True) if owner == index]
                answers[index] = _answer(own_lines, reading.run_ms.get(index, 0.0))
        return [answers[index] for index in range(len(payloads))]

    def _decode(self, payload: Payload) -> list[Image]:
        if not isinstance(payload, RecognizeCrops):
            raise PermanentError("This model reads crops of single lines only.", code="wrong_task")
        try:
            return [decode_payload(data, self._limits)[0] for data in payload.crops]
        except PermanentError as e:
            raise PermanentError(str(e), code="undecodable_payload") from e

    def _read(self, cuts: list[Image], owners: list[int]) -> "_Reading":
        reading = _Reading(len(cuts))
        plan = plan_batches([scaled_width(cut, self._parameters) for cut in cuts], self._parameters)
        # The widest first, so that at the end no thread works alone on a long line.
        plan.reverse()
        work = partial(self._batch, cuts, owners, reading)
        for done in self._pool.map(work, plan) if self._pool else map(work, plan):
            for line in done:
                reading.add(line)
        return reading

    def _batch(self, cuts: list[Image], owners: list[int], reading: "_Reading", batch: Batch) -> list["_Line"]:
        """Read one batch, in halves if memory does not suffice; runs on any thread of the pool."""
        width = batch[0]
        # The neighbours of a line that does not fit are not wanted any more.
        members = [index for index in batch[1] if owners[index] not in reading.too_large]
        if not members:
            return []
        try:
            tensor = prepare([cuts[index] for index in members], width, self._parameters)
            started = time.perf_counter()
            output = self._infer(tensor)
        except (EngineError, MemoryError) as e:
            if not out_of_memory(e):
                raise
            log.warning("out of memory", lines=len(members), width=width)
            half = len(members) // 2
            if half:
                return [
                    line
                    for part in (members[:half], members[half:])
                    for line in self._batch(cuts, owners, reading, (width, part))
                ]
            reading.too_large.add(owners[members[0]])
            return []
        share = (time.perf_counter() - started) * 1000 / len(members) / self._at_once
        read = self._alphabet.decode(output)
        return [_Line(index, owners[index], *line, share) for index, line in zip(members, read, strict=True)]

    def _infer(self, tensor: Floats) -> Floats:
        (output,) = self._engine.run({self._parameters.input_name: tensor}).values()
        return as_floats(output)


class _Line(NamedTuple):
    """A crop that was read."""

    crop: int
    owner: int
    """Index of its payload."""
    text: str
    confidence: float
    run_ms: float


class _Reading:
    """What became of so many crops."""

    def __init__(self, crops: int) -> None:
        self.lines: list[tuple[str, float]] = [("", 0.0)] * crops
        """Text and confidence of each crop."""
        self.run_ms: dict[int, float] = {}
        """Each payload's share of the ms inside the engine."""
        self.too_large: set[int] = set()
        """Payloads with a line that the model has no memory for."""

    def add(self, line: _Line) -> None:
        """Note one line."""
        self.lines[line.crop] = (line.text, line.confidence)
        self.run_ms[line.owner] = self.run_ms.get(line.owner, 0.0) + line.run_ms


def _answer(lines: list[tuple[str, float]], run_ms: float) -> Answer:
    return Answer(
        output=Recognitions(
            texts=tuple(text for text, _ in lines),
            confidences=tuple(round(confidence, 4) for _, confidence in lines),
        ),
        run_ms=run_ms,
    )
