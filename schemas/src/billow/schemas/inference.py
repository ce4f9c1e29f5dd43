"""Work for models and what they answer. MessagePack on `INFERENCE` and `RESULTS`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from billow.schemas.events import Instant
from billow.schemas.geometry import Page, Quad, Word
from billow.schemas.labels import Kind, Lane
from billow.schemas.record import Failure
from billow.schemas.tokens import Token

MAX_CROPS = 64
"""Crops in one `RecognizeCrops`, at most."""
MAX_CROP_BYTES = 512 * 1024
"""bytes of all crops in one `RecognizeCrops`; one crop alone may be larger."""


class DetectText(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="text-detection"):
    """Find the text on one page image."""

    image: bytes
    """Encoded, as any format that OpenCV decodes; its pixels are the page's, EXIF is not applied again."""


class RecognizeCrops(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="text-recognition"):
    """Read single lines of text."""

    crops: Annotated[tuple[bytes, ...], Meta(max_length=MAX_CROPS)]
    """Encoded upright line images."""


class ClassifyTokens(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="token-classification"):
    """Say what each word means."""

    pages: tuple[Page, ...]
    words: tuple[Word, ...]
    """In reading order."""
    kind: Kind | None = None
    language: str | None = None


class Detections(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="text-detection"):
    """Quads in px of the image that was sent, one score (0..1) each."""

    quads: tuple[Quad, ...]
    scores: tuple[float, ...]


class Recognitions(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="text-recognition"):
    """One text and confidence (0..1) a crop, in the order of the request."""

    texts: tuple[str, ...]
    confidences: tuple[float, ...]


class Classifications(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="token-classification"):
    """One label, score (0..1) and group a word, in the order of the request."""

    labels: tuple[str, ...]
    """Each one of `WORD_LABELS`."""
    scores: tuple[float, ...]
    groups: tuple[int, ...]
    """Words of one line item or tax row share a number >= 0; -1 is no group."""
    kind: Kind | None = None
    language: str | None = None


Payload = DetectText | RecognizeCrops | ClassifyTokens
Output = Detections | Recognitions | Classifications


class InferenceWork(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="inference.work.v1"):
    """One request to one model."""

    request_id: Token
    """Deterministic from document, run, model and payload, so that a repeated call finds the first answer."""
    tenant: Token
    document_id: Token
    model: Token
    lane: Lane
    payload: Payload
    sent_at: Instant
    deadline: Instant | None = None
    run_id: Token | None = None
    revision: int = 0
    """Of the document; 0 from a caller that does not say, whose work cannot be known as cancelled."""


class InferenceResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="inference.result.v1"):
    """What a worker made of an `InferenceWork`: exactly one of `output` and `error` is set."""

    request_id: Token
    model: Token
    worker: str = ""
    output: Output | None = None
    error: Failure | None = None
    run_ms: float = 0.0
    """Wall time inside the engine's `run()`, ms; of a shared batch only this request's share."""
    queue_ms: float = 0.0
    """From when the queue had stored it until a worker began with it, ms, by the server's clock alone."""


def count_items(payload: Payload) -> int:
    """How much of a batch a request takes: its crops; a page or a document is one."""
    return max(1, len(payload.crops)) if isinstance(payload, RecognizeCrops) else 1
