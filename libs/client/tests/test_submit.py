"""Handing in documents, on a real server without any service behind it."""

import asyncio
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import DOCUMENTS
from billow.client import Billow
from billow.runtime.errors import PermanentError
from billow.schemas.events import Submitted
from billow.testkit.events import make_completed, make_failed, make_recognized
from billow.testkit.plugin import NatsServer


async def test_the_original_and_its_event_are_there(billow: Billow, bus: Bus) -> None:
    name = await billow.submit(b"photo", source="a.jpg", kind="receipt", language="en", lane="bulk")
    event = await latest_event(bus, Submitted, "default", name)
    assert event is not None
    assert (event.source, event.kind, event.language, event.lane) == ("a.jpg", "receipt", "en", "bulk")
    assert await ImageStore(bus.client).get("default", event.image.key, sha256=event.image.sha256) == b"photo"


async def test_the_same_again_is_accepted_and_something_else_is_not(billow: Billow, bus: Bus) -> None:
    await billow.submit(b"photo", document_id="doc-1")
    assert await billow.submit(b"photo", document_id="doc-1") == "doc-1"
    with pytest.raises(PermanentError, match="higher revision") as caught:
        await billow.submit(b"another photo", document_id="doc-1")
    assert caught.value.code == "document_exists"
    assert await ImageStore(bus.client).get("default", "doc-1/original") == b"photo"


async def test_a_new_revision_leaves_the_original_of_the_old_one(billow: Billow, bus: Bus) -> None:
    await billow.submit(b"one", document_id="doc-1")
    await billow.submit(b"two", document_id="doc-1", revision=2)
    images = ImageStore(bus.client)
    assert await images.get("default", "doc-1/original") == b"one"
    assert await images.get("default", "doc-1/original-2") == b"two"


async def test_a_result_that_comes_later_is_awaited_and_one_that_is_there_is_found(billow: Billow, bus: Bus) -> None:
    waiting = asyncio.create_task(billow.result("doc-1", timeout=60))
    event = make_completed("doc-1")
    await publish_event(bus, event)
    assert await waiting == event.record
    assert await billow.result("doc-1", timeout=60) == event.record
    assert await billow.get("doc-1") == event.record


async def test_a_failed_document_is_a_result_too(billow: Billow, bus: Bus) -> None:
    event = make_failed("doc-1")
    await publish_event(bus, event)
    assert (await billow.result("doc-1", timeout=60)).error == event.record.error


async def test_a_time_out_says_that_nothing_is_lost(billow: Billow) -> None:
    with pytest.raises(TimeoutError, match="not lost"):
        await billow.result("doc-1", timeout=0.1)
    assert await billow.get("doc-1") is None


async def test_the_text_is_there_once_it_was_read(billow: Billow, bus: Bus) -> None:
    assert await billow.text("doc-1") == ()
    event = make_recognized("doc-1")
    await publish_event(bus, event)
    assert await billow.text("doc-1") == event.lines


@pytest.mark.parametrize("bad", ["A", "a.b", "a b", ""])
async def test_a_bad_id_or_tenant_is_refused(billow: Billow, bad: str) -> None:
    if bad:
        with pytest.raises(ValueError, match="document_id"):
            await billow.submit(b"x", document_id=bad)
    with pytest.raises(ValueError, match="tenant"):
        Billow(tenant=bad or "?")


NAIVE = datetime(2026, 3, 14, 9, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"deadline": NAIVE}, "deadline"),
        ({"kind": "foo"}, "kind"),
        ({"lane": "foo"}, "lane"),
        ({"language": 5}, "language"),
        ({"revision": 0}, "revision"),
        ({"revision": 2**70}, "cannot be handed in"),
        ({"source": "x" * 1025}, "source"),
        ({"source": "\udcff"}, "cannot be handed in"),
    ],
)
async def test_what_no_service_would_understand_is_not_accepted(
    billow: Billow, bus: Bus, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        await billow.submit(b"x", document_id="doc-1", **given)
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == 0
    with pytest.raises(PermanentError) as caught:
        await ImageStore(bus.client).get("default", "doc-1/original")
    assert caught.value.code == "image_missing"


FAILING = """
import asyncio, sys
from billow.client import Billow

def fail(record):
    done.set()
    raise RuntimeError("my own fault")

async def main():
    global done
    done = asyncio.Event()
    async with Billow(sys.argv[1]) as billow:
        await billow.submit(b"x", document_id="doc-1", on_result=fail)
        print("submitted", flush=True)
        await done.wait()
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_a_program_keeps_its_stdout_and_no_receipt_is_logged(bus: Bus, nats_server: NatsServer) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FAILING, nats_server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    first = await program.stdout.readline()
    completed = make_completed("doc-1")
    await publish_event(bus, completed)
    out, err = await asyncio.wait_for(program.communicate(), 60)
    assert (first + out).decode() == "submitted\n"
    assert "on_result failed" in err.decode()
    assert "my own fault" in err.decode()
    assert completed.record.fields["store_name"].value not in err.decode()


async def test_without_a_connection_it_says_how_to_get_one() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Billow().submit(b"x")
