"""PDFs read in a process of its own, so that one that takes for ever or ends its reader costs nothing but itself."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from typing import TypeVar

import msgspec
import numpy as np

from billow.runtime.errors import BillowError, PermanentError, TransientError
from billow.vision.arrays import Image
from billow.vision.media import Limits
from billow.vision.pages import Document, PageImage
from billow.vision.pdf_messages import Answer, Close, Found, Open, Opened, Question, Read, Refused, too_complex
from billow.vision.pdf_text import TrustParameters

A = TypeVar("A", Opened, Found)

SECONDS = 30.0
MEMORY = 512 << 20

_PATIENCE = 10
"""Times its processor time that a question may take where the machine is busy."""
_AGAIN = 5.0
"""seconds until a document is tried again whose reader ended through no fault of it"""
_OF_THE_PDF = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"}
"""How a reader ends that meets what it was not written for; PDFium gives up memory it cannot get by the last two."""
_MEMFD = getattr(os, "memfd_create", None)
"""Linux has it."""
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


class PdfProcess:
    """Opens PDFs. Its process is started when it is first needed, and again after it ended.

    Methods, and those of its documents, may be called from any thread; they wait for each other.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        """Nothing runs yet.

        Args:
            seconds: Of processor time, for opening a file and for each page.
            memory: bytes that the process may have for data.
        """
        self._seconds = seconds
        self._memory = memory
        self._child: _Child | None = None
        self._closed = False
        self._turn = threading.Lock()
        self._keys = itertools.count()

    def open(self, data: bytes, limits: Limits, trust: TrustParameters) -> Document:
        """Open a PDF as `open_pdf` does.

        Raises:
            PermanentError: what `open_pdf` raises, and `pdf_too_complex` for one that takes too much time or memory.
            TransientError: the process ended through no fault of the PDF, or `close` was called.
        """
        file = Open(key=next(self._keys), data=data, limits=limits, trust=trust)
        with self._turn:
            child, pages = self._open(file)
        return _Apart(self, file, child, pages)

    def page(self, file: Open, child: "_Child", index: int) -> "tuple[_Child, PageImage]":
        """Read one page; returns also the process that has the file open now. Raises as `open`."""
        with self._turn:
            if child is not self._child or not child.alive:
                # What another PDF did to it is no reason to refuse this one.
                child, _ = self._open(file)
            found, image = child.read(file, index)
        return child, PageImage(found.page, text_lines=found.lines, image=image)

    def forget(self, file: Open, child: "_Child") -> None:
        """Give its memory back. A no-op if the process that had it open is gone."""
        with self._turn:
            if child is self._child:
                child.say(Close(key=file.key))

    def close(self) -> None:
        """End the process, also while it reads. Safe to call twice."""
        self._closed = True
        if self._child is not None:
            self._child.kill()
        # Whoever waits for an answer got none, and lets go.
        with self._turn:
            if self._child is not None:
                self._child.end()

    def _open(self, file: Open) -> "tuple[_Child, int]":
        if self._closed:
            raise TransientError("this process does not read PDFs any more", delay=_AGAIN)
        if self._child is None or not self._child.alive:
            if self._child is not None:
                self._child.end()
            self._child = _Child(self._seconds, self._memory)
            if self._closed:
                self._child.kill()
        return self._child, self._child.ask(file, Opened).pages


class _Apart(Document):
    def __init__(self, process: PdfProcess, file: Open, child: "_Child", pages: int) -> None:
        super().__init__("application/pdf", pages)
        self._process = process
        self._file = file
        self._child = child

    def page(self, index: int) -> PageImage:
        self._check(index)
        self._child, page = self._process.page(self._file, self._child, index)
        return page

    def close(self) -> None:
        self._process.forget(self._file, self._child)


class _Child:
    """The process. What it says is checked: what it reads may have taken it over."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._overdue = False
        # Pixels go through a file in memory: a socket would take as long as drawing them.
        self._pixels = tempfile.TemporaryFile() if _MEMFD is None else os.fdopen(_MEMFD("pixels"), "rb+")  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (theirs.fileno(), self._pixels.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "billow.vision.pdf_child", *map(str, (*passed, seconds, memory))],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Whoever waits for an answer gets a TransientError."""
        self._process.kill()

    def end(self) -> None:
        """Kill it and forget it; not while somebody waits for an answer. Safe to call twice."""
        self.kill()
        self._process.wait()
        self._connection.close()
        self._pixels.close()

    def say(self, question: Question) -> None:
        with contextlib.suppress(OSError):
            self._connection.send_bytes(msgspec.msgpack.encode(question))

    def ask(self, question: Question, kind: type[A]) -> A:
        """Raises PermanentError, TransientError."""
        timer = threading.Timer(self._seconds * _PATIENCE, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            self._connection.send_bytes(msgspec.msgpack.encode(question))
            answer = _ANSWERS.decode(self._connection.recv_bytes())
        except (EOFError, OSError, msgspec.DecodeError) as e:
            raise self._ended() from e
        finally:
            timer.cancel()
        if isinstance(answer, Refused):
            raise PermanentError(answer.message, code=answer.code)
        if not isinstance(answer, kind):
            raise self._ended()
        return answer

    def read(self, file: Open, index: int) -> tuple[Found, Image | None]:
        """Raises PermanentError, TransientError."""
        found = self.ask(Read(key=file.key, index=index), Found)
        if found.lines is not None:
            return found, None
        width, height = found.page.width, found.page.height
        if not 0 < width * height <= file.limits.pdf_max_pixels + width + height + 1:
            raise self._ended()
        image = np.empty((height, width, 3), np.uint8)
        descriptor = self._pixels.fileno()
        if os.preadv(descriptor, [image.data], 0) != image.nbytes:
            raise self._ended()
        os.ftruncate(descriptor, 0)
        return found, image

    def _give_up(self) -> None:
        self._overdue = True
        self.kill()

    def _ended(self) -> BillowError:
        """Bury it, and say what it died of."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        # Where it is still about to die of something, `end` comes too late to be the reason.
        self.end()
        code = self._process.returncode
        name = signal.Signals(-code).name if code is not None and code < 0 else ""
        if name == "SIGPROF":
            return too_complex(f"takes more than {self._seconds:g} s")
        if name in _OF_THE_PDF:
            return too_complex(f"ends the program that does it ({name})")
        why = "took too long on a busy machine" if self._overdue else f"ended ({name or code})"
        return TransientError(f"the process that reads PDFs {why}", delay=_AGAIN)
