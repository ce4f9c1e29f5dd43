"""What the OCR service can be told through the environment."""

from typing import Annotated

from msgspec import Meta

from billow.bus.consume import LOOKAHEAD
from billow.runtime.settings import ProcessSettings
from billow.vision.media import Limits
from billow.vision.pdf_process import MEMORY, SECONDS
from billow.vision.transport import CROP, DETECTION_SIDE, PAGE, Encoding, Format


class OcrSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of the OCR service, `BILLOW_<FIELD>`."""

    detection_model: str = "ppocr-v6-det-small_1-0-0"
    """Where no route says otherwise; `billow models route`."""
    recognition_model: str = "ppocr-v6-rec-small_1-0-0"
    """Where no route says otherwise."""
    ocr_concurrency: int = 4
    """Documents in hand at once, but for one of a tenant that has none."""
    ocr_run_concurrency: Annotated[int, Meta(ge=1)] = 4
    """Documents of replays in hand at once, beside the others; their work for models is of the bulk lane."""
    ocr_lookahead: Annotated[int, Meta(ge=0)] = LOOKAHEAD
    """Events held at most to find whose turn it is, by tenant and lane; 0 takes them in the order of the stream."""
    inference_wait: float = 20.0
    """seconds until a document frees its slot because no worker answers"""
    inference_retry_delay: float = 10.0
    """seconds until such a document is tried again"""
    min_text_confidence: float = 0.5
    """Lines that the recogniser is less sure of are noise, 0..1."""
    max_bytes: int = Limits().max_bytes
    max_pixels: int = Limits().max_pixels
    """px a page, width times height"""
    max_pages: int = Limits().max_pages
    pdf_dpi: float = Limits().pdf_dpi
    """px per inch at which PDF pages without a usable text layer are rendered"""
    pdf_limit: Annotated[float, Meta(gt=0)] = SECONDS
    """seconds of processor time for opening a PDF and for each of its pages; one that takes more is refused"""
    pdf_memory: Annotated[int, Meta(ge=64 << 20)] = MEMORY
    """bytes that the process that reads PDFs may take"""
    page_side: int = DETECTION_SIDE
    """px; the long side of a page as the detector gets it, crops are still cut from all pixels"""
    page_format: Format = PAGE.format
    """`jpeg`, `webp` or `png`: pages that must be encoded anew for the link"""
    page_quality: Annotated[int, Meta(ge=1, le=100)] = PAGE.quality
    """Of those pages, unless they are `png`; `docs/architecture.md` has what quality costs."""
    crop_format: Format = CROP.format
    """The same for the lines that are sent to the recogniser."""
    crop_quality: Annotated[int, Meta(ge=1, le=100)] = CROP.quality

    def page_encoding(self) -> Encoding:
        """In which bytes pages cross the link."""
        return Encoding(format=self.page_format, quality=self.page_quality)

    def crop_encoding(self) -> Encoding:
        """In which bytes lines cross the link."""
        return Encoding(format=self.crop_format, quality=self.crop_quality)

    def limits(self) -> Limits:
        """What a document may measure before it is refused."""
        return Limits(
            max_bytes=self.max_bytes, max_pixels=self.max_pixels, max_pages=self.max_pages, pdf_dpi=self.pdf_dpi
        )
