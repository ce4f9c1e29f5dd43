"""Reads one document: decode, find text, cut, recognise. Blocking work runs on threads, models run elsewhere."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar, cast

from billow.bus.inference import InferenceClient
from billow.runtime.timing import Stopwatch
from billow.schemas.events import Submitted
from billow.schemas.geometry import Page, Quad, TextLine
from billow.schemas.inference import Detections, DetectText, Output, Recognitions, RecognizeCrops
from billow.schemas.labels import Task
from billow.services.ocr import domain
from billow.services.ocr.errors import unexpected_answer
from billow.services.ocr.pictures import cut_crops, in_reading_order
from billow.services.ocr.settings import OcrSettings
from billow.vision.document import open_document
from billow.vision.media import MediaType, sniff
from billow.vision.pages import Document, PageImage
from billow.vision.pdf_process import PdfProcess
from billow.vision.transport import detection_payload

T = TypeVar("T")

_PAGES_AT_ONCE = 2
"""While one page is recognised the next one is searched for text; more would only hold memory."""


class Reading(NamedTuple):
    """What a document says."""

    pages: tuple[Page, ...]
    lines: tuple[TextLine, ...]
    models: dict[str, str]
    """Task -> token of the model that answered; of several, as when a fallback stepped in for a part, all with commas
    between."""
    link_bytes: dict[str, int]
    """Task -> bytes of pictures sent to its workers; `original`: bytes of the document."""


class _Notes:
    """What the models of one document were, and what was sent to them."""

    def __init__(self, size: int) -> None:
        self.sent = {"original": size}
        self._models: dict[str, set[str]] = {}

    def answered(self, task: Task, model: str) -> None:
        self._models.setdefault(task, set()).add(model)

    def models(self) -> dict[str, str]:
        return {task: ",".join(sorted(models)) for task, models in self._models.items()}


class Reader:
    """Reads documents with the help of two models: those that the routes name, else those of the settings.

    PDFs are read one at a time in a process apart; `close` ends it.
    """

    def __init__(self, inference: InferenceClient, settings: OcrSettings) -> None:
        self._inference = inference
        self._settings = settings
        self._limits = settings.limits()
        self._pdfs = PdfProcess(seconds=settings.pdf_limit, memory=settings.pdf_memory)
        # One of their own, so that a PDF that takes long keeps no picture from being decoded.
        self._pdf_thread = ThreadPoolExecutor(1, "pdf")

    def close(self) -> None:
        """End what reads PDFs; documents in hand get a TransientError. Safe to call twice."""
        self._pdfs.close()
        self._pdf_thread.shutdown(wait=False)

    async def read(self, event: Submitted, data: bytes, clock: Stopwatch, *, again: bool) -> Reading:
        """Read all pages.

        Raises:
            PermanentError: the bytes are no document we can read; the code says why.
            TransientError: no worker answered in time.
        """
        with clock.stage("decode"):
            kind = sniff(data)
            document = await self._decode(kind, lambda: open_document(data, self._limits, pdf=self._pdfs.open))
        try:
            turn = asyncio.Semaphore(_PAGES_AT_ONCE)
            notes = _Notes(len(data))

            async def one(index: int) -> tuple[Page, list[TextLine]]:
                async with turn:
                    return await self._page(event, document, index, clock, notes, again=again)

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(index)) for index in range(document.page_count)]
        except ExceptionGroup as errors:
            # One page decides for the document; its siblings were cancelled with it.
            raise _first(errors) from errors
        finally:
            # Nobody waits for it, since it may have to wait for another PDF.
            self._pdf_thread.submit(document.close)
        results = [task.result() for task in tasks]
        lines = tuple(line for _, found in results for line in found)
        return Reading(tuple(page for page, _ in results), lines, notes.models(), notes.sent)

    async def _decode(self, kind: MediaType, work: Callable[[], T]) -> T:
        thread = self._pdf_thread if kind == "application/pdf" else None
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    async def _page(
        self, event: Submitted, document: Document, index: int, clock: Stopwatch, notes: _Notes, *, again: bool
    ) -> tuple[Page, list[TextLine]]:
        with clock.stage("decode"):
            page = await self._decode(document.media_type, lambda: document.page(index))
        if page.text_lines is not None:
            return page.page, list(page.text_lines)
        with clock.stage("encode"):
            picture, factor = await asyncio.to_thread(
                detection_payload, page, self._settings.page_side, self._settings.page_encoding()
            )
        found = await self._detect(event, picture, clock, notes, again=again)
        quads = in_reading_order(found, factor)
        if not quads:
            return page.page, []
        return page.page, await self._recognize(event, page, index, quads, clock, notes, again=again)

    async def _detect(
        self, event: Submitted, image: bytes, clock: Stopwatch, notes: _Notes, *, again: bool
    ) -> tuple[Quad, ...]:
        result = await self._inference.call(
            event,
            DetectText(image=image),
            task="text-detection",
            model=self._settings.detection_model,
            lane=event.lane,
            again=again,
            sent=notes.sent,
        )
        clock.add("text-detection", result.run_ms)
        notes.answered("text-detection", result.model)
        if not isinstance(result.output, Detections):
            raise unexpected_answer(result.model, "text-detection")
        return result.output.quads

    async def _recognize(
        self,
        event: Submitted,
        page: PageImage,
        index: int,
        quads: Sequence[Quad],
        clock: Stopwatch,
        notes: _Notes,
        *,
        again: bool,
    ) -> list[TextLine]:
        with clock.stage("crop"):
            crops, widths = await asyncio.to_thread(cut_crops, page, quads, self._settings.crop_encoding())
        parts = domain.chunks(crops, widths)
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(
                    self._inference.call(
                        event,
                        RecognizeCrops(crops=tuple(crops[i] for i in part)),
                        task="text-recognition",
                        model=self._settings.recognition_model,
                        lane=event.lane,
                        again=again,
                        sent=notes.sent,
                    )
                )
                for part in parts
            ]
        read: list[tuple[int, str, float]] = []
        for part, call in zip(parts, calls, strict=True):
            result = call.result()
            clock.add("text-recognition", result.run_ms)
            notes.answered("text-recognition", result.model)
            output = _recognitions(result.output, result.model, len(part))
            read += zip(part, output.texts, output.confidences, strict=True)
        return domain.lines_of_page(index, quads, read, min_confidence=self._settings.min_text_confidence)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(cast("ExceptionGroup[Exception]", error)) if isinstance(error, ExceptionGroup) else error


def _recognitions(output: Output | None, model: str, count: int) -> Recognitions:
    if not isinstance(output, Recognitions) or len(output.texts) != count or len(output.confidences) != count:
        raise unexpected_answer(model, "text-recognition")
    return output
