"""What we accept: the kinds of file, told by their first bytes, and how large they may be."""

from typing import Literal

import msgspec

from billow.runtime.errors import PermanentError

MediaType = Literal["image/jpeg", "image/png", "image/webp", "image/bmp", "application/pdf"]

ACCEPTED = "JPEG, PNG, WebP, BMP or PDF"
"""For messages to people."""

_PDF_HEADER_WITHIN = 1024
"""bytes; readers accept a PDF whose header stands after a little rubbish."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a document may cost. Checked before anything is decoded."""

    max_bytes: int = 25 * 1024 * 1024
    max_pixels: int = 80_000_000
    """px of one image; decoded, each takes 3 bytes."""
    max_side: int = 30_000
    """px; the warping functions of OpenCV end at 32,767."""
    max_pages: int = 30
    pdf_dpi: float = 200.0
    """px per inch at which PDF pages are rendered, unless that makes them too large."""
    pdf_max_pixels: int = 16_000_000
    """px of a rendered PDF page; a larger page is rendered at a lower dpi instead of being refused."""


def sniff(data: bytes) -> MediaType:
    """Tell the kind of file by its content; names and declared types are not asked.

    Raises:
        PermanentError: `empty_file` or `unsupported_media_type`.
    """
    if not data:
        raise PermanentError("The file is empty. Send it again, and check that it is whole.", code="empty_file")
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0":
        return "image/bmp"
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return "application/pdf"
    raise PermanentError(f"{_describe(data)} Send it as {ACCEPTED}.", code="unsupported_media_type")


def _describe(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF and video files cannot be read."
    if data.startswith(b"GIF8"):
        return "GIF files cannot be read."
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF files cannot be read."
    if data.startswith(b"PK\x03\x04"):
        return "This is a ZIP archive or an office document, not a picture."
    return "This is neither a picture nor a PDF, whatever its name says."


def check_size(data: bytes, limits: Limits) -> None:
    """Refuse what is too large to look at.

    Raises:
        PermanentError: `file_too_large`.
    """
    if len(data) > limits.max_bytes:
        raise PermanentError(
            f"The file has {len(data) / 1e6:.1f} MB; at most {limits.max_bytes / 1e6:.1f} MB are accepted. "
            "Send a smaller picture or fewer pages.",
            code="file_too_large",
        )


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Refuse what would be too large once decoded.

    Raises:
        PermanentError: `image_too_large`.
    """
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise PermanentError(
            f"The picture has {width} x {height} px; at most {limits.max_pixels / 1e6:.0f} million px and "
            f"{limits.max_side} px a side are accepted. Send a smaller one.",
            code="image_too_large",
        )
