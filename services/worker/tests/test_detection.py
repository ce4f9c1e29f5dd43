"""The detector's adapter: page bytes in, quads in px of those bytes out."""

from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors
from billow.schemas.inference import Detections, DetectText, RecognizeCrops
from billow.services.worker.tasks.detection import TextDetection
from billow.services.worker.tasks.protocol import Answer
from billow.vision.detection import DetectionParameters
from billow.vision.media import Limits


class InkDetector:
    """Says "text" wherever the page is dark."""

    device = "cpu"
    metadata: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Tensors) -> Tensors:
        tensor = inputs["x"]
        self.shapes.append(tensor.shape)
        return {"map": (tensor.mean(axis=1, keepdims=True) < 0).astype(np.float32) * np.float32(0.9)}

    def close(self) -> None: ...


def page(width: int, height: int, *bars: tuple[int, int, int, int], suffix: str = ".png") -> DetectText:
    image = np.full((height, width, 3), 255, np.uint8)
    for x, y, w, h in bars:
        image[y : y + h, x : x + w] = 0
    return DetectText(image=cv2.imencode(suffix, image)[1].tobytes())


def detections(answer: Answer) -> Detections:
    assert answer.error is None
    assert isinstance(answer.output, Detections)
    return answer.output


def test_quads_lie_around_the_marks_in_px_of_the_sent_image() -> None:
    (answer,) = TextDetection(InkDetector()).run([page(400, 600, (100, 200, 150, 20))])
    found = detections(answer)
    (quad,) = found.quads
    centre = (sum(quad[::2]) / 4, sum(quad[1::2]) / 4)
    assert centre == pytest.approx((175, 210), abs=2)
    assert quad[0] < 100
    assert quad[1] < 200
    assert found.scores == (pytest.approx(0.9, abs=0.1),)
    assert answer.run_ms > 0


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("trim", [True, False])
def test_a_photo_is_looked_at_smaller_but_answered_in_its_own_px(suffix: str, trim: bool) -> None:
    engine = InkDetector()
    model = TextDetection(engine, DetectionParameters(trim=trim))
    (answer,) = model.run([page(3024, 4032, (1000, 2000, 1000, 100), suffix=suffix)])
    (quad,) = detections(answer).quads
    centre = (sum(quad[::2]) / 4, sum(quad[1::2]) / 4)
    assert centre == pytest.approx((1500, 2050), abs=10)
    ((_, _, height, width),) = engine.shapes
    assert (width, height) == ((544, 96) if trim else (1504, 2016))


def test_a_blank_page_has_no_quads() -> None:
    (answer,) = TextDetection(InkDetector()).run([page(400, 600)])
    assert detections(answer) == Detections(quads=(), scores=())


def test_a_bad_payload_fails_alone() -> None:
    good = page(400, 600, (100, 200, 150, 20))
    cut = DetectText(image=page(400, 600, suffix=".jpg").image[:-500])
    answers = TextDetection(InkDetector()).run(
        [good, DetectText(image=b""), DetectText(image=b"text"), cut, RecognizeCrops(crops=()), good]
    )
    codes = [answer.error.code if answer.error else None for answer in answers]
    assert codes == [None, *["undecodable_payload"] * 3, "wrong_task", None]
    assert detections(answers[0]) == detections(answers[-1])


def test_a_bomb_never_reaches_the_engine() -> None:
    engine = InkDetector()
    (answer,) = TextDetection(engine, limits=Limits(max_pixels=10_000)).run([page(400, 600)])
    assert answer.error is not None
    assert answer.error.code == "undecodable_payload"
    assert engine.shapes == []


def test_warming_up_runs_the_model_on_a_page() -> None:
    engine = InkDetector()
    TextDetection(engine).warm_up()
    assert engine.shapes == [(1, 3, 1024, 736)]


def test_what_the_engine_raises_is_passed_on() -> None:
    class Broken(InkDetector):
        def run(self, inputs: Tensors) -> Tensors:
            raise EngineError("broken", code="inference_failed")

    with pytest.raises(EngineError, match="broken"):
        TextDetection(Broken()).run([page(400, 600)])


@pytest.mark.parametrize("error", [MemoryError(), EngineError("no memory", code="out_of_memory")])
def test_a_page_that_memory_does_not_suffice_for_fails_alone(error: Exception) -> None:
    class Small(InkDetector):
        def run(self, inputs: Tensors) -> Tensors:
            if inputs["x"].size > 3_000_000:
                raise error
            return super().run(inputs)

    good = page(400, 600, (100, 200, 150, 20))
    model = TextDetection(Small(), DetectionParameters(trim=False))
    small, large, again = model.run([good, page(1600, 1600), good])
    assert large.output is None
    assert large.error is not None
    assert (large.error.code, large.error.retryable) == ("out_of_memory", True)
    assert detections(small) == detections(again)
