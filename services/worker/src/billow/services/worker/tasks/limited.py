"""What a manifest's [limits] refuse, before it costs model time."""

from collections.abc import Sequence

from billow.engines.manifest import Limits
from billow.runtime.errors import PermanentError
from billow.schemas.inference import ClassifyTokens, DetectText, Payload, RecognizeCrops
from billow.schemas.record import Failure
from billow.services.worker.tasks.protocol import Answer, TaskModel


class Limited:
    """A `TaskModel` that passes on only what its model's limits allow."""

    def __init__(self, model: TaskModel, limits: Limits) -> None:
        self._model = model
        self._limits = limits

    def warm_up(self) -> None:
        """As the model does."""
        self._model.warm_up()

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order; see the protocol.

        One beyond a limit is answered with `too_many_words`, `too_many_crops` or `image_too_large`.
        """
        faults = [self._fault(payload) for payload in payloads]
        allowed = [payload for payload, fault in zip(payloads, faults, strict=True) if fault is None]
        answers = iter(self._model.run(allowed) if allowed else [])
        return [next(answers) if fault is None else Answer(error=fault) for fault in faults]

    def _fault(self, payload: Payload) -> Failure | None:
        match payload:
            case ClassifyTokens():
                return self._count("words", len(payload.words), "split the document and submit the parts")
            case RecognizeCrops():
                advice = "send the lines in several requests"
                return self._count("crops", len(payload.crops), advice) or self._pixels(payload.crops)
            case DetectText():
                return self._pixels((payload.image,))

    def _count(self, what: str, count: int, advice: str) -> Failure | None:
        most = self._limits.max_items
        if most is None or count <= most:
            return None
        message = f"the request has {count} {what}, and this model takes {most}; {advice}, or choose another model"
        return Failure(code=f"too_many_{what}", message=message)

    def _pixels(self, images: Sequence[bytes]) -> Failure | None:
        most = self._limits.max_pixels
        if most is None:
            return None
        # Imported by need: a worker of `rules` never loads OpenCV.
        from billow.vision.headers import read_header
        from billow.vision.media import sniff

        for image in images:
            try:
                header = read_header(image, sniff(image))
            except PermanentError:
                continue  # the model's adapter says what is wrong with it
            if header.width * header.height > most:
                message = (
                    f"an image has {header.width} x {header.height} px, and this model takes {most} px; send a smaller "
                    "one, or choose another model"
                )
                return Failure(code="image_too_large", message=message)
        return None
