"""The loop of a developer: an edited file is sent into the running pod, and the next document is answered by it."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from billow.schemas.events import Analyzed
from integration_tests.containers.pods import Pod
from integration_tests.containers.workbench import ROOT, Workbench, describe
from integration_tests.images.ours import build

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

LIMIT = 5.0
"""seconds from an edit to its answer, at most"""
HANDLER = "services/layout/src/billow/services/layout/handlers.py"
TASK = "services/worker/src/billow/services/worker/tasks/classification.py"
MODEL = "models/rules/rules_model/analysis.py"
EDITS = {
    HANDLER: ("language=found.language or event.language", 'language="{}"'),
    TASK: ('language=_text(outputs, "language") or payload.language', 'language="{}"'),
    MODEL: ("return Reading(board, kind, language)", 'return Reading(board, kind, "{}")'),
}
"""Of each file a place that decides which language a document is given, and what it becomes."""


def edited(file: str, mark: str) -> str:
    """A file of the checkout that gives every document this language."""
    text = (ROOT / file).read_text()
    old, new = EDITS[file]
    assert text.count(old) == 1, f"{file} has not one `{old}`: name another place of it here"
    return text.replace(old, new.format(mark))


def shows(mark: str) -> Callable[[Analyzed], bool]:
    """Whether an answer comes from a file that was edited so."""
    return lambda answer: answer.language == mark


async def edit(bench: Workbench, pod: Pod, file: str, name: str, summary: list[str], **changes: object) -> float:
    """Three edits, one after the other; returns the median of the seconds until their answers, and notes all three."""
    seconds: list[float] = []
    for number in range(3):
        mark = f"{name}-{number}"
        seconds.append(await bench.edit(pod, file, edited(file, mark), shows(mark), **changes))
    summary.append(describe(name, seconds))
    return statistics.median(seconds)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(engine: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workbench]:
    folder = tmp_path_factory.mktemp("dev-loop")
    sys.stderr.write(f"logs of all pods: {folder / 'logs'}\n")
    async with Workbench.open(folder) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def layout(bench: Workbench) -> Pod:
    # The others are only built: the profile has them too.
    image, *_ = build(["billow/layout", "billow/ocr", "billow/receipt"], tag="dev", target="dev")
    return await bench.start("layout", image)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(bench: Workbench) -> Pod:
    (image,) = build(["billow/worker-cpu"], tag="dev", target="dev")
    return await bench.start("worker-rules", image)


async def test_an_edited_handler_answers_within_seconds(bench: Workbench, layout: Pod, summary: list[str]) -> None:
    # Documents without text need no model.
    assert await edit(bench, layout, HANDLER, "handler", summary, lines=()) < LIMIT


async def test_an_edit_that_breaks_it_is_told_and_the_next_one_brings_it_back(
    bench: Workbench, layout: Pod, summary: list[str]
) -> None:
    await bench.put(layout, HANDLER, "def broken(:\n")
    await bench.until_logged(layout, "SyntaxError")
    log = layout.log()
    assert f"/src/{HANDLER}" in log
    assert "def broken(:" in log
    # A probe that takes silence for death would have the container made anew, without the edits.
    await bench.until_live(layout)
    assert not layout.ready
    seconds = await bench.edit(layout, HANDLER, edited(HANDLER, "mended"), shows("mended"), lines=())
    summary.append(describe("an edit after a syntax error", [seconds]))
    assert seconds < LIMIT


async def test_an_edited_worker_and_model_answer_within_seconds(
    bench: Workbench, layout: Pod, worker: Pod, summary: list[str]
) -> None:
    await bench.put(layout, HANDLER, (ROOT / HANDLER).read_text())
    await bench.until(lambda answer: answer.language == "en")
    assert await edit(bench, worker, TASK, "worker", summary) < LIMIT
    await bench.put(worker, TASK, (ROOT / TASK).read_text())
    assert await edit(bench, worker, MODEL, "model", summary) < LIMIT


async def test_an_edit_does_not_wait_for_documents_whose_model_is_away(
    bench: Workbench, layout: Pod, worker: Pod, summary: list[str]
) -> None:
    # Fewer wait than the service has slots: with all of them taken no document would be answered, edited or not.
    await bench.until_idle()
    assert await asyncio.to_thread(worker.terminate) == 0, worker.log()
    waiting = [await bench.say() for _ in range(3)]
    await bench.until_asked(waiting)
    assert await edit(bench, layout, HANDLER, "handler whose documents wait", summary, lines=()) < LIMIT


async def test_the_files_belong_to_the_user_who_runs_them(layout: Pod) -> None:
    """As skaffold has it: it sends files as that user, which may change nothing else."""
    code, owner = layout.execute("stat", "-c", "%u:%g", f"/src/{HANDLER}")
    assert (code, owner.strip()) == (0, "10001:10001")
    assert layout.execute("touch", "/opt/billow/new")[0] != 0
