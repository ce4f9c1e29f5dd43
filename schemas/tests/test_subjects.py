"""Subjects and the token rule."""

import pytest

from billow.schemas import subjects
from billow.schemas.tokens import check_token, is_token, model_token


def test_subjects_are_as_documented() -> None:
    assert subjects.document("default", "submitted", "doc-1") == "documents.default.submitted.doc-1"
    assert (
        subjects.inference("text-detection", "m_1-0-0", "bulk", "acme") == "inference.text-detection.m_1-0-0.bulk.acme"
    )
    assert subjects.result("acme", "text-detection", "r1") == "results.acme.text-detection.r1"
    assert subjects.deadletter("acme", "ocr", "submitted") == "deadletters.acme.ocr.submitted"
    assert subjects.cancelled("acme", "doc-1") == "cancelled.acme.doc-1"
    assert subjects.shadow("acme", "text-detection", "m_1-0-0") == "shadows.acme.text-detection.m_1-0-0"
    assert subjects.images_bucket("acme") == "IMAGES_acme"
    assert subjects.original_key("doc-1") == "doc-1/original"
    assert subjects.original_key("doc-1", 2) == "doc-1/original-2"


def test_a_model_carries_its_version() -> None:
    assert model_token("ppocr-v6-det-small", "1.0.0") == "ppocr-v6-det-small_1-0-0"


@pytest.mark.parametrize("bad", ["", "A", "a.b", "a b", "a*", ">", "é", "x" * 65, "a\n"])
def test_what_would_break_a_subject_is_no_token(bad: str) -> None:
    assert not is_token(bad)
    with pytest.raises(ValueError, match="document_id"):
        subjects.document("default", "submitted", bad)
    with pytest.raises(ValueError, match="document_id"):
        subjects.cancelled("default", bad)


@pytest.mark.parametrize("good", ["a", "0", "_-", "x" * 64])
def test_tokens_come_back_unchanged(good: str) -> None:
    assert check_token(good) == good
