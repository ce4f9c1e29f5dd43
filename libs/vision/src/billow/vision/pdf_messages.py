"""What `pdf_process` and the process that reads PDFs for it say to each other; msgpack, one question at a time."""

from typing import TypeAlias

import msgspec

from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page, TextLine
from billow.vision.media import Limits
from billow.vision.pdf_text import TrustParameters


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Answered by `Opened`."""

    key: int
    """What the document is called from now on."""
    data: bytes
    limits: Limits
    trust: TrustParameters


class Read(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Answered by `Found`."""

    key: int
    index: int


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Not answered."""

    key: int


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It is a PDF that we read."""

    pages: int


class Found(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One page. Without lines its pixels are in the file: height x width x 3 bytes, BGR."""

    page: Page
    lines: tuple[TextLine, ...] | None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A PermanentError."""

    message: str
    code: str


Question: TypeAlias = Open | Read | Close
Answer: TypeAlias = Opened | Found | Refused


def too_complex(what: str) -> PermanentError:
    """The PDF is one that we cannot read. `what`: it does, as a verb and its object."""
    return PermanentError(
        f"Reading the PDF {what}. Print it to a new PDF, or take a picture of it, and send that.",
        code="pdf_too_complex",
    )
