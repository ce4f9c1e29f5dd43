"""Recorded bytes of every version must decode for ever, and to the same meaning.

A new version adds a file to `schemas/golden/`; no file there is ever changed or removed.
"""

from pathlib import Path

import msgspec
import pytest

from billow.schemas import codec, export
from billow.schemas.events import EVENT_NAMES, Analyzed, Cancelled, Erased, Promoted, Recognized, Submitted
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import (
    Classifications,
    ClassifyTokens,
    Detections,
    DetectText,
    InferenceResult,
    InferenceWork,
    Recognitions,
    RecognizeCrops,
)
from billow.schemas.record import Failure
from billow.schemas.routing import Comparison, Route, Rule
from billow.schemas.tenants import TenantPolicy
from billow.testkit.events import (
    MOMENT,
    make_analyzed,
    make_cancelled,
    make_completed,
    make_erased,
    make_failed,
    make_promoted,
    make_recognized,
    make_record,
    make_submitted,
    quad_of_line,
)

LINK_BYTES = {"original": 400_000, "text-detection": 180_000, "text-recognition": 90_000}
GOLDEN = Path(__file__).parents[1] / "golden"


def _work(payload: DetectText | RecognizeCrops | ClassifyTokens) -> InferenceWork:
    return InferenceWork(
        request_id="0123456789abcdef",
        tenant="default",
        document_id="doc-1",
        model="fake_1-0-0",
        lane="interactive",
        payload=payload,
        sent_at=MOMENT,
    )


def _result(**what: object) -> InferenceResult:
    return msgspec.structs.replace(
        InferenceResult(request_id="0123456789abcdef", model="fake_1-0-0", worker="w", run_ms=7.5, queue_ms=0.5), **what
    )


VALUES: dict[str, msgspec.Struct] = {
    "document.submitted.v1.json": make_submitted(),
    "document.recognized.v1.json": make_recognized(),
    "document.analyzed.v1.json": make_analyzed(),
    "document.completed.v1.json": make_completed(),
    "document.failed.v1.json": make_failed(),
    "document.cancelled.v1.json": make_cancelled(),
    "document.recognized.v1.link-bytes.json": make_recognized(link_bytes=LINK_BYTES),
    "document.analyzed.v1.link-bytes.json": make_analyzed(link_bytes=LINK_BYTES),
    "document.completed.v1.link-bytes.json": make_completed(record=make_record(link_bytes=LINK_BYTES)),
    "document.failed.v1.cancelled.json": make_failed(
        status="cancelled", error=Failure(code="cancelled", message="Nobody wants it any more.", stage="receipt")
    ),
    "document.promoted.v1.json": make_promoted(),
    "document.erased.v1.json": make_erased(),
    "document.submitted.v1.run.json": make_submitted(run_id="run-1", asked={"text-detection": "fake-det_2-0-0"}),
    "document.recognized.v1.run.json": make_recognized(
        run_id="run-1", asked={"token-classification": "fake-rules_2-0-0"}
    ),
    "document.completed.v1.promoted.json": make_completed(
        record=make_record(promoted_from="run-1"), promotion="promote-run-1"
    ),
    "document.submitted.v1.msgpack": make_submitted(),
    "inference.work.v1.detect.msgpack": _work(DetectText(image=b"\x89PNG")),
    "inference.work.v1.recognize.msgpack": _work(RecognizeCrops(crops=(b"a", b"b"))),
    "inference.work.v1.classify.msgpack": _work(
        ClassifyTokens(pages=(Page(width=400, height=600),), words=(Word(text="Total", quad=quad_of_line(0)),))
    ),
    "inference.result.v1.detect.msgpack": _result(output=Detections(quads=(quad_of_line(0),), scores=(0.5,))),
    "inference.result.v1.recognize.msgpack": _result(output=Recognitions(texts=("Total",), confidences=(0.5,))),
    "inference.result.v1.classify.msgpack": _result(
        output=Classifications(labels=("total",), scores=(0.5,), groups=(-1,), kind="receipt", language="en")
    ),
    "inference.result.v1.error.msgpack": _result(error=Failure(code="bad", message="It is bad.", stage="worker")),
    "route.v1.json": Route(
        task="text-recognition",
        default="fake-rec_1-0-0",
        weights={"fake-rec_2-0-0": 0.1},
        shadows=("fake-rec_3-0-0",),
        fallback="fake-rec_0-9-0",
        fallback_after=2.5,
        rules=(Rule(model="fake-vi_1-0-0", tenant="acme", kind="receipt", language="vi"),),
        changed_at=MOMENT,
        changed_by="ann@desk",
        note="try version 2",
    ),
    "tenant.policy.v1.json": TenantPolicy(rate=5, burst=20, max_backlog=100, retention_s=3600),
    "shadow.comparison.v1.json": Comparison(
        tenant="default",
        document_id="doc-1",
        task="text-recognition",
        model="fake-rec_1-0-0",
        shadow="fake-rec_3-0-0",
        occurred_at=MOMENT,
        agreement=0.5,
        similarity=0.9,
        run_ms=7.5,
        shadow_run_ms=5.0,
        output=Recognitions(texts=("Total",), confidences=(0.5,)),
    ),
}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_recorded_bytes_decode_to_the_same_value(name: str) -> None:
    value = VALUES[name]
    assert codec.decode((GOLDEN / name).read_bytes(), type(value), _content_type(name)) == value


def test_every_recording_is_tested_and_every_type_recorded() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(VALUES)
    assert {*EVENT_NAMES, InferenceWork, InferenceResult, Route, Comparison, TenantPolicy} == {
        type(value) for value in VALUES.values()
    }


@pytest.mark.parametrize("name", sorted(name for name in VALUES if name.endswith(".json")))
def test_fields_of_a_later_version_are_ignored(name: str) -> None:
    row = msgspec.json.decode((GOLDEN / name).read_bytes()) | {"invented_later": {"a": [1]}}
    assert codec.decode(msgspec.json.encode(row), type(VALUES[name])) == VALUES[name]


@pytest.mark.parametrize("type_", [Submitted, Recognized, Analyzed, Cancelled, Promoted, Erased])
def test_only_what_was_required_at_first_is_required(type_: type[msgspec.Struct]) -> None:
    """A field without a default cannot be added later: events of the past do not have it."""
    required = {field.name for field in msgspec.structs.fields(type_) if field.required}
    always = {"tenant", "document_id", "event_id", "occurred_at"}
    own: dict[type[msgspec.Struct], set[str]] = {
        Submitted: {"image"},
        Recognized: {"origin", "pages", "lines"},
        Analyzed: {"origin", "pages", "entities"},
        Cancelled: set(),
        Promoted: {"promotion", "from_run", "record"},
        Erased: set(),
    }
    assert required == always | own[type_]


def test_the_exported_json_schemas_are_up_to_date(tmp_path: Path) -> None:
    committed = GOLDEN.parent / "json"
    for path in export.export(tmp_path):
        assert (committed / path.name).read_bytes() == path.read_bytes(), "run `make schemas` and commit the result"
    assert {path.name for path in committed.iterdir()} == {f"{name}.schema.json" for name in export.EXPORTED}


def _content_type(name: str) -> codec.ContentType:
    return codec.JSON if name.endswith(".json") else codec.MSGPACK


def record() -> None:
    """Record what is not there yet; what is there stays as it is."""
    GOLDEN.mkdir(exist_ok=True)
    for name, value in VALUES.items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(codec.encode(value, _content_type(name)))


if __name__ == "__main__":
    record()
