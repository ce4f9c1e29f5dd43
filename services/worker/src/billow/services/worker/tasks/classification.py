"""`token-classification`: words with boxes in, one label a word out.

Every model of this task, rules or network, speaks these tensors (N words, P pages):

| input | type, shape | meaning |
|---|---|---|
| `words` | str (object), (N,) | in reading order |
| `quads` | float32, (N, 8) | px of the page, corners clockwise from the text's own top left |
| `page` | int32, (N,) | index into `page_size` |
| `line` | int32, (N,) | words cut from one recognised line share it |
| `page_size` | int32, (P, 2) | width, height in px |
| `kind` | str, (1,) | `receipt`, `invoice`, or empty when nobody knows |
| `language` | str, (1,) | ISO 639-1, or empty |

| output | type, shape | meaning |
|---|---|---|
| `labels` | str, (N,) | each one of `WORD_LABELS`; empty for none |
| `scores` | float32, (N,) | 0..1 |
| `groups` | int32, (N,) | words of one line item or tax row share a number >= 0; -1 is none |
| `kind`, `language` | str, (1,) | as decided, or as given; may be left out |
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from billow.engines.protocol import Engine, Tensors
from billow.runtime.errors import BillowError, PermanentError, TransientError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens, Payload
from billow.schemas.labels import WORD_LABELS, Kind
from billow.schemas.record import Failure
from billow.services.worker.tasks.memory import too_large
from billow.services.worker.tasks.protocol import Answer

_STAGE = "layout"
_ADVICE = "choose another model for token-classification"
_LABELS = frozenset(WORD_LABELS)
_KINDS: dict[str, Kind] = {"receipt": "receipt", "invoice": "invoice"}


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the task in a manifest's `[parameters]`."""

    max_words: int = 20_000
    """A document with more is refused with `too_many_words`; no person reads a longer one."""


class TokenClassification:
    """Runs one document at a time: its words explain each other, so documents share no batch."""

    def __init__(self, engine: Engine, parameters: Mapping[str, Any] | None = None) -> None:
        """Wrap `engine`.

        Raises:
            PermanentError: `invalid_parameters`: `parameters` has an unknown key or a wrong value.
        """
        self._engine = engine
        try:
            self._parameters = msgspec.convert(dict(parameters or {}), Parameters)
        except msgspec.ValidationError as e:
            raise PermanentError(
                f"[parameters] of the model's manifest: {e}; known: max_words", code="invalid_parameters"
            ) from e

    def warm_up(self) -> None:
        """Run once on a document of two words. Raises what the engine raises."""
        quad = (0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0)
        words = (Word(text="Total", quad=quad), Word(text="1.00", quad=quad))
        self._engine.run(_tensors(ClassifyTokens(pages=(Page(width=100, height=100),), words=words)))

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order; see the protocol."""
        return [self._answer(payload) for payload in payloads]

    def _answer(self, payload: Payload) -> Answer:
        if not isinstance(payload, ClassifyTokens):
            tag = payload.__struct_config__.tag
            return _failed("wrong_task", f"this worker does token-classification and was sent {tag}; fix the route")
        if not payload.words:
            nothing = Classifications(labels=(), scores=(), groups=(), kind=payload.kind, language=payload.language)
            return Answer(output=nothing)
        if fault := self._fault(payload):
            return fault
        started = time.perf_counter()
        try:
            outputs = self._engine.run(_tensors(payload))
        except Exception as e:  # a model may fail in any way, and must not take its neighbours along
            return _engine_failed(e, (time.perf_counter() - started) * 1000)
        run_ms = (time.perf_counter() - started) * 1000
        try:
            return Answer(output=_classifications(payload, outputs), run_ms=run_ms)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            message = f"the model's answer cannot be used ({_reason(e)}); {_ADVICE}"
            return _failed("invalid_output", message, run_ms)

    def _fault(self, payload: ClassifyTokens) -> Answer | None:
        """Why a payload cannot be given to a model, if so."""
        if len(payload.words) > self._parameters.max_words:
            return _failed(
                "too_many_words",
                f"the document has {len(payload.words)} words, the limit is {self._parameters.max_words};"
                " split it and submit the parts",
            )
        if any(not 0 <= word.page < len(payload.pages) for word in payload.words):
            return _failed("invalid_input", "a word stands on a page that is not listed; submit the document again")
        return None


def _reason(error: Exception) -> str:
    return f"no output {error}" if isinstance(error, KeyError) else str(error)


def _failed(code: str, message: str, run_ms: float = 0.0, *, retryable: bool = False) -> Answer:
    return Answer(error=Failure(code=code, message=message, stage=_STAGE, retryable=retryable), run_ms=run_ms)


def _engine_failed(error: Exception, run_ms: float) -> Answer:
    if isinstance(error, MemoryError):
        return Answer(error=too_large("document"), run_ms=run_ms)
    code = error.code if isinstance(error, PermanentError) else "model_failed"
    message = str(error) if isinstance(error, BillowError) else f"the model failed ({error!r}); {_ADVICE}"
    return _failed(code, message, run_ms, retryable=isinstance(error, TransientError))


def _tensors(payload: ClassifyTokens) -> Tensors:
    words = payload.words
    return {
        "words": np.array([word.text for word in words], dtype=object),
        "quads": np.array([word.quad for word in words], dtype=np.float32).reshape(len(words), 8),
        "page": np.array([word.page for word in words], dtype=np.int32),
        "line": np.array([word.line for word in words], dtype=np.int32),
        "page_size": np.array([(p.width, p.height) for p in payload.pages], dtype=np.int32).reshape(-1, 2),
        "kind": np.array([payload.kind or ""], dtype=object),
        "language": np.array([payload.language or ""], dtype=object),
    }


def _classifications(payload: ClassifyTokens, outputs: Tensors) -> Classifications:
    """Check what the model said.

    Raises:
        KeyError: an output is missing.
        ValueError: a wrong shape, an unknown label or a score that is no number.
    """
    count = len(payload.words)
    labels = tuple(str(label) for label in outputs["labels"].ravel())
    scores = np.asarray(outputs["scores"], dtype=np.float64).ravel()
    groups = np.asarray(outputs["groups"], dtype=np.int64).ravel()
    for name, length in (("labels", len(labels)), ("scores", scores.size), ("groups", groups.size)):
        if length != count:
            raise ValueError(f"{length} {name} for {count} words")
    if unknown := sorted(set(labels) - _LABELS):
        raise ValueError(f"unknown labels {unknown[:3]}")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a number")
    return Classifications(
        labels=labels,
        scores=tuple(float(score) for score in scores.clip(0.0, 1.0)),
        groups=tuple(max(int(group), -1) for group in groups),
        kind=_KINDS.get(_text(outputs, "kind")) or payload.kind,
        language=_text(outputs, "language") or payload.language,
    )


def _text(outputs: Tensors, name: str) -> str:
    return str(outputs[name].ravel()[0]) if name in outputs and outputs[name].size else ""
