"""`python -m billow.vision.pdf_child CONNECTION PIXELS SECONDS BYTES`: answers what `pdf_process` asks, within limits.

It reads what strangers sent: it is ended by the kernel where it takes too long, and gets no memory beyond its limit.
"""

import contextlib
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection

import msgspec

from billow.runtime.errors import PermanentError
from billow.vision.pages import Document
from billow.vision.pdf_document import open_pdf
from billow.vision.pdf_messages import Answer, Close, Found, Open, Opened, Question, Refused, too_complex

_QUESTIONS: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)


class _Desk:
    """The documents that are open."""

    def __init__(self, connection: Connection, pixels: int) -> None:
        self._connection = connection
        self._pixels = pixels
        self._documents: dict[int, Document] = {}

    def answer(self, question: Question) -> None:
        """Raises PermanentError, MemoryError."""
        if isinstance(question, Open):
            document = open_pdf(question.data, question.limits, question.trust)
            self._documents[question.key] = document
            self._say(Opened(pages=document.page_count))
        elif isinstance(question, Close):
            self._documents.pop(question.key).close()
        else:
            page = self._documents[question.key].page(question.index)
            if page.text_lines is None:
                os.pwrite(self._pixels, page.image.data, 0)
            self._say(Found(page=page.page, lines=page.text_lines))

    def refuse(self, error: PermanentError) -> None:
        self._say(Refused(message=str(error), code=error.code))

    def _say(self, answer: Answer) -> None:
        self._connection.send_bytes(msgspec.msgpack.encode(answer))


def serve(connection: Connection, pixels: int, seconds: float) -> None:
    """Answer until nobody asks any more.

    Args:
        connection: To whoever asks.
        pixels: File descriptor that takes the pixels of a page.
        seconds: Of processor time for one question; SIGPROF ends the process that takes more.
    """
    desk = _Desk(connection, pixels)
    while True:
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            desk.answer(_QUESTIONS.decode(data))
        except PermanentError as e:
            desk.refuse(e)
        except MemoryError:
            desk.refuse(too_complex("takes too much memory"))
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> int:
    """Serve the connection that was inherited; returns the exit code."""
    connection, pixels, memory = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    # Ctrl-C is for whoever asks; that one lets what is in hand come to its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # PDFium ends the process where it gets no memory; a picture of that is of no use to anybody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(Connection(connection), pixels, float(sys.argv[3]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
