"""The task `text-recognition`: crops of single lines in, texts out."""

import time
from collections.abc import Sequence

import numpy as np

from billow.engines.protocol import Engine
from billow.runtime.errors import PermanentError
from billow.schemas.inference import Payload, Recognitions, RecognizeCrops
from billow.schemas.record import Failure
from billow.services.worker.tasks.protocol import Answer
from billow.vision.arrays import Floats, Image, as_floats
from billow.vision.media import Limits
from billow.vision.recognition import Alphabet, RecognitionParameters, plan_batches, prepare, scaled_width
from billow.vision.transport import decode_payload

WARM_UP_WIDTH = 960
"""px; buckets up to this are run before the first document on devices that prepare themselves for each shape."""


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

    def warm_up(self) -> None:
        """Run once, on a GPU once for every width bucket up to 960 px.

        Raises:
            ValueError: the model and the alphabet do not fit together.
        """
        step = self._parameters.width_step
        widths = [WARM_UP_WIDTH // 3 // step * step]
        if not self._engine.device.startswith("cpu"):
            widths = list(range(self._parameters.min_width, WARM_UP_WIDTH + 1, step))
        for width in widths:
            self._alphabet.decode(self._infer(np.zeros((1, 3, self._parameters.height, width), np.float32)))

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order, with one text a crop.

        The crops of all payloads are pooled, sorted by width and run in batches of like width. A payload with a crop
        that is no picture is answered with `undecodable_payload`. What the engine raises is passed on.
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
        lines, run_ms = self._read(cuts, owners)
        for index in range(len(payloads)):
            if index not in answers:
                own_lines = [line for line, owner in zip(lines, owners, strict=True) if owner == index]
                answers[index] = _answer(own_lines, run_ms.get(index, 0.0))
        return [answers[index] for index in range(len(payloads))]

    def _decode(self, payload: Payload) -> list[Image]:
        if not isinstance(payload, RecognizeCrops):
            raise PermanentError("This model reads crops of single lines only.", code="wrong_task")
        try:
            return [decode_payload(data, self._limits)[0] for data in payload.crops]
        except PermanentError as e:
            raise PermanentError(str(e), code="undecodable_payload") from e

    def _read(self, cuts: list[Image], owners: list[int]) -> tuple[list[tuple[str, float]], dict[int, float]]:
        """Text and confidence of each crop, and each payload's share of the ms inside the engine."""
        lines: list[tuple[str, float]] = [("", 0.0)] * len(cuts)
        run_ms: dict[int, float] = {}
        widths = [scaled_width(cut, self._parameters) for cut in cuts]
        for width, members in plan_batches(widths, self._parameters):
            tensor = prepare([cuts[index] for index in members], width, self._parameters)
            started = time.perf_counter()
            output = self._infer(tensor)
            spent = (time.perf_counter() - started) * 1000
            for index in members:
                run_ms[owners[index]] = run_ms.get(owners[index], 0.0) + spent / len(members)
            for index, line in zip(members, self._alphabet.decode(output), strict=True):
                lines[index] = line
        return lines, run_ms

    def _infer(self, tensor: Floats) -> Floats:
        (output,) = self._engine.run({self._parameters.input_name: tensor}).values()
        return as_floats(output)


def _answer(lines: list[tuple[str, float]], run_ms: float) -> Answer:
    return Answer(
        output=Recognitions(
            texts=tuple(text for text, _ in lines),
            confidences=tuple(round(confidence, 4) for _, confidence in lines),
        ),
        run_ms=run_ms,
    )
