"""Words in, labels out, and what a failing or lying model becomes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens, DetectText
from billow.services.worker.tasks.classification import TokenClassification
from billow.services.worker.tasks.protocol import Answer

Tensors = Mapping[str, NDArray[Any]]
QUAD = (1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)


class Engine:
    """Remembers what it was given and answers as told."""

    device = "cpu"
    metadata: Mapping[str, str] = {}

    def __init__(self, answer: Callable[[Tensors], Tensors]) -> None:
        self.inputs: list[Tensors] = []
        self._answer = answer

    def run(self, inputs: Tensors) -> Tensors:
        self.inputs.append(inputs)
        return self._answer(inputs)

    def close(self) -> None:
        """Holds nothing."""


def good(inputs: Tensors, **changed: NDArray[Any]) -> Tensors:
    count = len(inputs["words"])
    return {
        "labels": np.array(["total"] * count, dtype=object),
        "scores": np.full(count, 0.5, dtype=np.float32),
        "groups": np.full(count, -1, dtype=np.int32),
        "kind": np.array(["receipt"], dtype=object),
        "language": np.array(["en"], dtype=object),
    } | changed


def work(*texts: str, page: int = 0) -> ClassifyTokens:
    words = tuple(Word(text=text, quad=QUAD, page=page, line=i) for i, text in enumerate(texts))
    return ClassifyTokens(pages=(Page(width=30, height=40),), words=words)


def answer_to(engine: Engine, payload: ClassifyTokens) -> Answer:
    (answer,) = TokenClassification(engine).run([payload])
    return answer


def test_a_model_sees_the_words_as_documented() -> None:
    engine = Engine(good)
    answer_to(engine, work("Total", "9.00"))
    seen = engine.inputs[0]
    assert {name: (array.dtype.kind, array.shape) for name, array in seen.items()} == {
        "words": ("O", (2,)),
        "quads": ("f", (2, 8)),
        "page": ("i", (2,)),
        "line": ("i", (2,)),
        "page_size": ("i", (1, 2)),
        "kind": ("O", (1,)),
        "language": ("O", (1,)),
    }
    assert seen["words"].tolist() == ["Total", "9.00"]
    assert seen["line"].tolist() == [0, 1]
    assert seen["page_size"].tolist() == [[30, 40]]


def test_labels_come_back_in_order_with_kind_and_language() -> None:
    engine = Engine(lambda inputs: good(inputs, labels=np.array(["", "total"]), groups=np.array([-1, 3])))
    answer = answer_to(engine, work("Total", "9.00"))
    assert answer.output == Classifications(
        labels=("", "total"), scores=(0.5, 0.5), groups=(-1, 3), kind="receipt", language="en"
    )
    assert answer.run_ms > 0


def test_what_the_submitter_said_stays_where_the_model_is_silent() -> None:
    def silent(inputs: Tensors) -> Tensors:
        return {name: array for name, array in good(inputs).items() if name not in ("kind", "language")}

    payload = ClassifyTokens(pages=work("a").pages, words=work("a").words, kind="invoice", language="de")
    output = answer_to(Engine(silent), payload).output
    assert isinstance(output, Classifications)
    assert (output.kind, output.language) == ("invoice", "de")


def test_a_blank_document_costs_no_model_time() -> None:
    engine = Engine(good)
    assert answer_to(engine, work()).output == Classifications(labels=(), scores=(), groups=())
    assert engine.inputs == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": np.array(["total"])}, "1 labels for 2 words"),
        ({"labels": np.array(["total", "colour"])}, "colour"),
        ({"scores": np.array([0.5, np.nan])}, "not a number"),
        ({"groups": np.array([0])}, "1 groups for 2 words"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(change: dict[str, NDArray[Any]], reason: str) -> None:
    answer = answer_to(Engine(lambda inputs: good(inputs, **change)), work("Total", "9.00"))
    assert answer.output is None
    assert answer.error is not None
    assert answer.error.code == "invalid_output"
    assert reason in answer.error.message


def test_a_missing_output_is_named() -> None:
    answer = answer_to(Engine(lambda inputs: {"labels": np.array(["total"])}), work("a"))
    assert answer.error is not None
    assert "scores" in answer.error.message


def test_scores_and_groups_are_brought_into_their_ranges() -> None:
    wild = Engine(lambda inputs: good(inputs, scores=np.array([1.5]), groups=np.array([-7])))
    output = answer_to(wild, work("a")).output
    assert isinstance(output, Classifications)
    assert (output.scores, output.groups) == ((1.0,), (-1,))


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (RuntimeError("boom"), "model_failed", False),
        (PermanentError("no weights", code="weights_missing"), "weights_missing", False),
        (TransientError("busy"), "model_failed", True),
    ],
)
def test_a_failing_model_fails_only_its_document(error: Exception, code: str, retryable: bool) -> None:
    def fragile(inputs: Tensors) -> Tensors:
        if "bad" in inputs["words"]:
            raise error
        return good(inputs)

    first, second = TokenClassification(Engine(fragile)).run([work("bad"), work("good")])
    assert first.error is not None
    assert (first.error.code, first.error.retryable) == (code, retryable)
    assert second.output is not None


def test_payloads_that_cannot_be_used_are_refused_one_by_one() -> None:
    engine = Engine(good)
    model = TokenClassification(engine, {"max_words": 2})
    answers = model.run([DetectText(image=b""), work("a", "b", "c"), work("a", page=5), work("a")])
    assert [answer.error.code if answer.error else None for answer in answers] == [
        "wrong_task",
        "too_many_words",
        "invalid_input",
        None,
    ]
    assert len(engine.inputs) == 1


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(PermanentError, match="max_words"):
        TokenClassification(Engine(good), {"max_word": 2})


def test_warming_up_runs_the_model_once() -> None:
    engine = Engine(good)
    TokenClassification(engine).warm_up()
    assert len(engine.inputs) == 1
