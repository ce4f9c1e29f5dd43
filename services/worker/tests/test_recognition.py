"""The recogniser's adapter: crops of many payloads share batches, and every text finds its way home."""

import threading
from collections import Counter
from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors
from billow.runtime.errors import PermanentError
from billow.schemas.inference import DetectText, Recognitions, RecognizeCrops
from billow.services.worker.tasks.protocol import Answer
from billow.services.worker.tasks.recognition import TextRecognition
from billow.vision.recognition import Alphabet, RecognitionParameters

CHARACTERS = "abcdefghij"


class GreyReader:
    """Reads a crop's grey level as one letter, so a text tells which crop it came from."""

    metadata: Mapping[str, str] = {"character": "\n".join(CHARACTERS)}

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Tensors) -> Tensors:
        tensor = inputs["x"]
        self.shapes.append(tensor.shape)
        output = np.zeros((len(tensor), 4, len(CHARACTERS) + 2), np.float32)
        for row, crop in zip(output, tensor, strict=True):
            row[1, 1 + round((crop[0, 0, 0] + 1) / 2 * (len(CHARACTERS) - 1))] = 0.5
        output[:, [0, 2, 3], 0] = 1.0
        return {"probabilities": output}

    def close(self) -> None: ...


def crop(letter: str, width: int, height: int = 48) -> bytes:
    grey = round(CHARACTERS.index(letter) / (len(CHARACTERS) - 1) * 255)
    return cv2.imencode(".png", np.full((height, width, 3), grey, np.uint8))[1].tobytes()


def texts(answer: Answer) -> tuple[str, ...]:
    assert answer.error is None
    assert isinstance(answer.output, Recognitions)
    assert len(answer.output.texts) == len(answer.output.confidences)
    return answer.output.texts


def test_crops_of_all_payloads_share_batches_and_find_their_way_home() -> None:
    engine = GreyReader()
    payloads = [
        RecognizeCrops(crops=(crop("a", 200), crop("b", 40), crop("c", 600))),
        RecognizeCrops(crops=()),
        RecognizeCrops(crops=(crop("d", 205), crop("e", 590, 47), crop("f", 41))),
    ]
    answers = TextRecognition(engine).run(payloads)
    assert [texts(answer) for answer in answers] == [("a", "b", "c"), (), ("d", "e", "f")]
    assert engine.shapes == [(2, 3, 48, 608), (2, 3, 48, 224), (2, 3, 48, 64)]
    assert answers[0].run_ms > 0
    assert answers[1].run_ms == 0


def test_the_confidence_is_the_models() -> None:
    (answer,) = TextRecognition(GreyReader()).run([RecognizeCrops(crops=(crop("j", 100),))])
    assert answer.output == Recognitions(texts=("j",), confidences=(0.5,))


def test_batches_stay_within_their_limits() -> None:
    engine = GreyReader()
    parameters = RecognitionParameters(max_batch=3, max_columns=256)
    crops = tuple(crop("a", width) for width in (20, 20, 20, 20, 100, 100, 100, 1000))
    (answer,) = TextRecognition(engine, parameters).run([RecognizeCrops(crops=crops)])
    assert texts(answer) == ("a",) * 8
    assert engine.shapes == [(1, 3, 48, 1024), (1, 3, 48, 128), (2, 3, 48, 128), (1, 3, 48, 32), (3, 3, 48, 32)]


def test_a_bad_payload_fails_alone() -> None:
    good = RecognizeCrops(crops=(crop("g", 100),))
    bad = RecognizeCrops(crops=(crop("h", 100), b"no picture"))
    answers = TextRecognition(GreyReader()).run([good, bad, DetectText(image=b""), good])
    codes = [answer.error.code if answer.error else None for answer in answers]
    assert codes == [None, "undecodable_payload", "wrong_task", None]
    assert answers[1].output is None
    assert texts(answers[0]) == texts(answers[3]) == ("g",)


def test_no_payloads_cost_no_run() -> None:
    engine = GreyReader()
    assert TextRecognition(engine).run([]) == []
    assert engine.shapes == []


def test_weights_without_characters_are_refused() -> None:
    class Mute(GreyReader):
        metadata: Mapping[str, str] = {}

    with pytest.raises(PermanentError) as caught:
        TextRecognition(Mute())
    assert caught.value.code == "model_without_alphabet"
    assert texts(
        TextRecognition(Mute(), alphabet=Alphabet([*"0123456789", " "])).run([RecognizeCrops(crops=(crop("c", 9),))])[0]
    ) == ("2",)


def test_warming_up_finds_an_alphabet_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="12 classes, the alphabet 3"):
        TextRecognition(GreyReader(), alphabet=Alphabet(["a", " "])).warm_up()


def test_every_width_is_met_before_the_first_document_where_a_new_one_costs() -> None:
    cpu, gpu, spread = GreyReader(), GreyReader("cuda:0"), SpreadReader(threads=2)
    for engine in (cpu, gpu, spread):
        TextRecognition(engine).warm_up()
    assert [shape[3] for shape in cpu.shapes] == [320]
    assert [shape[3] for shape in gpu.shapes] == list(range(32, 961, 32))
    met = Counter(shape[3] for shape in spread.shapes)
    assert met == dict.fromkeys(range(32, 961, 32), 2), "each of both threads"


class SpreadReader(GreyReader):
    """Runs several inputs at once, and notes how many did."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self._meet = threading.Barrier(threads)

    def spread(self) -> int:
        return self._threads

    def run(self, inputs: Tensors) -> Tensors:
        self._meet.wait(timeout=60)
        return super().run(inputs)


def test_an_engine_that_can_runs_lines_side_by_side() -> None:
    crops = tuple(crop(letter, 40 + 50 * index) for index, letter in enumerate("abcdefgh"))
    engine = SpreadReader(threads=2)
    (answer,) = TextRecognition(engine).run([RecognizeCrops(crops=crops)])
    assert texts(answer) == tuple("abcdefgh")
    assert [shape[0] for shape in engine.shapes] == [1] * 8
    (single,) = TextRecognition(GreyReader()).run([RecognizeCrops(crops=crops)])
    assert answer.output == single.output


class SmallReader(GreyReader):
    """Has memory for so many columns of px, and for no line with a `j`."""

    def __init__(self, columns: int, error: Exception) -> None:
        super().__init__()
        self._columns = columns
        self._error = error

    def run(self, inputs: Tensors) -> Tensors:
        tensor = inputs["x"]
        self.shapes.append(tensor.shape)
        if len(tensor) * tensor.shape[3] > self._columns or tensor[:, 0, 0, 0].max() == 1.0:
            raise self._error
        return super().run(inputs)


NO_MEMORY = [MemoryError(), EngineError("no memory left", code="out_of_memory")]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_batch_without_memory_is_halved_until_it_fits(error: Exception) -> None:
    engine = SmallReader(256, error)
    (answer,) = TextRecognition(engine).run([RecognizeCrops(crops=tuple(crop(one, 128) for one in "abcdefgh"))])
    assert texts(answer) == tuple("abcdefgh")
    assert [shape[0] for shape in engine.shapes if shape[0] > 2] == [8, 4, 4]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_line_without_memory_fails_its_own_payload_only(error: Exception) -> None:
    good = RecognizeCrops(crops=(crop("a", 128), crop("b", 128)))
    bad = RecognizeCrops(crops=(crop("c", 128), crop("j", 128), crop("d", 30)))
    first, failed, last = TextRecognition(SmallReader(4096, error)).run([good, bad, good])
    assert texts(first) == texts(last) == ("a", "b")
    assert failed.output is None
    assert failed.error is not None
    assert (failed.error.code, failed.error.retryable) == ("out_of_memory", True)


def test_other_errors_of_the_engine_are_passed_on() -> None:
    broken = SmallReader(0, EngineError("broken", code="inference_failed"))
    with pytest.raises(EngineError, match="broken"):
        TextRecognition(broken).run([RecognizeCrops(crops=(crop("a", 128),))])
    assert len(broken.shapes) == 1
