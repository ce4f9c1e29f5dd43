"""PDFs read in a process apart: the same pages, and no harm from those that are made to do harm."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import psutil
import pytest

from billow.runtime.errors import PermanentError, TransientError
from billow.vision.document import open_document
from billow.vision.media import Limits
from billow.vision.pages import Document
from billow.vision.pdf_process import PdfProcess

MakePdf = Callable[..., bytes]

WORDS = "BT /F1 12 Tf 1 0 0 1 72 720 Tm (ACME Stationery Ltd, 12 Harbour Street) Tj ET\n"
DRAWING = "0.5 g 100 100 200 300 re f\n"
SLOW = "0 0 m 600 700 l 300 10 l S\n" * 200_000
"""Takes PDFium minutes; packed, it would be 14 kB."""


@pytest.fixture
def pdfs() -> Iterator[PdfProcess]:
    process = PdfProcess(seconds=20)
    yield process
    process.close()


def opened(pdfs: PdfProcess, data: bytes, limits: Limits | None = None) -> Document:
    return open_document(data, limits, pdf=pdfs.open)


def child() -> psutil.Process:
    """The one process that was started here."""
    found: list[psutil.Process] = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # of another test, and gone by now
            if "billow.vision.pdf_child" in each.cmdline():
                found.append(each)
    (one,) = found
    return one


def while_it_works(process: psutil.Process, deed: Callable[[], None]) -> threading.Thread:
    """Do it once the process has been busy for a while, on a thread that ends then."""
    used = sum(process.cpu_times()[:2])

    def wait() -> None:
        while sum(process.cpu_times()[:2]) < used + 0.3:
            time.sleep(0.01)
        deed()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_pages_are_those_that_are_read_here(pdfs: PdfProcess, make_pdf: MakePdf) -> None:
    data = make_pdf([WORDS, DRAWING], extra="/Rotate 90")
    with open_document(data) as here, opened(pdfs, data) as apart:
        assert (apart.page_count, apart.media_type) == (2, "application/pdf")
        for ours, theirs in zip(here, apart, strict=True):
            assert theirs.page == ours.page
            assert theirs.text_lines == ours.text_lines
        assert np.array_equal(apart.page(1).image, here.page(1).image)
        with pytest.raises(IndexError):
            apart.page(2)


def test_what_is_refused_is_refused_in_the_same_words(pdfs: PdfProcess, make_pdf: MakePdf) -> None:
    bad = [(b"%PDF-1.7\nnothing", None), (make_pdf([DRAWING] * 3), Limits(max_pages=2))]
    for data, limits in bad:
        with pytest.raises(PermanentError) as here:
            open_document(data, limits)
        with pytest.raises(PermanentError) as apart:
            opened(pdfs, data, limits)
        assert (str(apart.value), apart.value.code) == (str(here.value), here.value.code)


def test_one_that_takes_too_long_is_refused_and_costs_the_others_nothing(
    make_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It has so many times its processor time, whatever else this machine does.
    monkeypatch.setattr("billow.vision.pdf_process._PATIENCE", 50)
    pdfs = PdfProcess(seconds=3)
    with opened(pdfs, make_pdf([WORDS, WORDS])) as innocent:
        assert innocent.page(0).text_lines
        begun = time.process_time()
        with (
            pytest.raises(PermanentError, match="takes more than 3 s") as caught,
            opened(pdfs, make_pdf([SLOW])) as slow,
        ):
            slow.page(0)
        assert caught.value.code == "pdf_too_complex"
        assert "take a picture" in str(caught.value)
        assert time.process_time() - begun < 2, "the time was spent here"
        # Open before, it is opened again by the process that comes after.
        lines = innocent.page(1).text_lines
        assert lines is not None
        assert [line.text for line in lines] == ["ACME Stationery Ltd, 12 Harbour Street"]
    pdfs.close()


def test_one_that_wants_too_much_memory_is_refused(make_pdf: MakePdf) -> None:
    pdfs = PdfProcess(memory=160 << 20)
    with (
        pytest.raises(PermanentError) as caught,
        opened(pdfs, make_pdf([DRAWING], media_box="0 0 14400 14400"), Limits(pdf_max_pixels=80_000_000)) as large,
    ):
        large.page(0)
    assert caught.value.code == "pdf_too_complex"
    with opened(pdfs, make_pdf([WORDS])) as small:
        assert small.page(0).text_lines
    pdfs.close()


def test_one_that_ends_its_reader_is_refused_and_a_killed_reader_is_no_fault_of_it(
    pdfs: PdfProcess, make_pdf: MakePdf
) -> None:
    for end, expected in ((signal.SIGSEGV, PermanentError), (signal.SIGKILL, TransientError)):
        with opened(pdfs, make_pdf([SLOW])) as document:
            victim = child()
            thread = while_it_works(victim, partial(os.kill, victim.pid, end))
            with pytest.raises(expected):
                document.page(0)
            thread.join()
            assert not victim.is_running()


def test_what_it_died_of_is_told_also_where_its_end_takes_long(
    pdfs: PdfProcess, make_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = subprocess.Popen[bytes].wait

    def impatient(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is not None:
            raise subprocess.TimeoutExpired(process.args, timeout)
        return wait(process)

    with opened(pdfs, make_pdf([SLOW])) as document:
        monkeypatch.setattr(subprocess.Popen, "wait", impatient)
        victim = child()
        thread = while_it_works(victim, partial(os.kill, victim.pid, signal.SIGSEGV))
        with pytest.raises(PermanentError, match="SIGSEGV"):
            document.page(0)
        thread.join()


def test_one_that_died_between_two_questions_is_replaced(pdfs: PdfProcess, make_pdf: MakePdf) -> None:
    with opened(pdfs, make_pdf([WORDS, WORDS])) as document:
        assert document.page(0).text_lines
        victim = child()
        victim.kill()
        victim.wait()
        assert document.page(1).text_lines


def test_closing_ends_it_while_it_reads(make_pdf: MakePdf) -> None:
    pdfs = PdfProcess()
    document = opened(pdfs, make_pdf([SLOW]))
    victim = child()
    thread = while_it_works(victim, pdfs.close)
    with pytest.raises(TransientError):
        document.page(0)
    thread.join()
    assert not victim.is_running()
    with pytest.raises(TransientError, match="does not read PDFs any more"):
        opened(pdfs, make_pdf([WORDS]))
    document.close()
    pdfs.close()
