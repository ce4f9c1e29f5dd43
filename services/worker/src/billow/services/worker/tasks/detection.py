"""The task `text-detection`: page images in, quads out."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from billow.engines.errors import EngineError
from billow.engines.protocol import Engine
from billow.runtime.errors import PermanentError
from billow.schemas.inference import Detections, DetectText, Payload
from billow.schemas.record import Failure
from billow.services.worker.tasks.memory import out_of_memory, too_large
from billow.services.worker.tasks.protocol import Answer
from billow.vision.arrays import Floats, as_floats
from billow.vision.detection import DetectionParameters, boxes_from_map, prepare, reduction
from billow.vision.geometry import to_quad
from billow.vision.media import Limits
from billow.vision.transport import decode_payload

WARM_UP_SIZE = (736, 1024)
"""Width and height in px of a usual receipt as the network sees it."""


class TextDetection:
    """A `TaskModel` around a detector whose only output is a probability map (N, 1, H, W)."""

    def __init__(
        self, engine: Engine, parameters: DetectionParameters | None = None, limits: Limits | None = None
    ) -> None:
        self._engine = engine
        self._parameters = parameters or DetectionParameters()
        self._limits = limits or Limits()

    def warm_up(self) -> None:
        """Run once on an empty page. Pages come in any size, so there are no buckets to go through."""
        width, height = WARM_UP_SIZE
        self._map(np.zeros((1, 3, height, width), np.float32))

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order, with quads in px of the image that was sent.

        Pages are run one by one: they differ in size, and one page fills the processor.
        A payload that is no picture is answered with `undecodable_payload`, one whose page takes more memory than there
        is with `out_of_memory`. What else the engine raises is passed on.
        """
        return [self._answer(payload) for payload in payloads]

    def _answer(self, payload: Payload) -> Answer:
        if not isinstance(payload, DetectText):
            return Answer(error=Failure(code="wrong_task", message="This model finds text on page images only."))
        try:
            shrink = partial(reduction, parameters=self._parameters)
            image, size = decode_payload(payload.image, self._limits, shrink)
        except PermanentError as e:
            return Answer(error=Failure(code="undecodable_payload", message=str(e)))
        try:
            view = prepare(image, self._parameters)
            started = time.perf_counter()
            probabilities = self._map(view.tensor)
        except (EngineError, MemoryError) as e:
            if not out_of_memory(e):
                raise
            return Answer(error=too_large("page"))
        run_ms = (time.perf_counter() - started) * 1000
        # The image may have been decoded smaller than it was sent.
        sent = (size[0] / image.shape[1], size[1] / image.shape[0])
        quads, scores = boxes_from_map(
            probabilities,
            (view.scale[0] * sent[0], view.scale[1] * sent[1]),
            size,
            self._parameters,
            (view.region.x * sent[0], view.region.y * sent[1]),
        )
        output = Detections(quads=tuple(map(to_quad, quads)), scores=tuple(round(float(s), 4) for s in scores))
        return Answer(output=output, run_ms=run_ms)

    def _map(self, tensor: Floats) -> Floats:
        (output,) = self._engine.run({self._parameters.input_name: tensor}).values()
        return as_floats(output[0, 0])
