"""The `billow` command as a user meets it: output, exit codes, messages."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.testkit.consuming import until
from samples.receipts import render_receipt

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

NOBODY = "nats://127.0.0.1:9"


def start(*args: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "billow.cli", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environ},
    )


async def billow(*args: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = start(*args, **environ)
    out, err = await asyncio.to_thread(process.communicate, None, 150)
    return process.returncode, out, err


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.png"
    path.write_bytes(render_receipt(1)[0])
    return path


INTERRUPTED = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

# Who runs the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
from billow.cli.start import main
main()
"""


async def test_ctrl_c_at_the_start_ends_it_without_a_traceback() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", INTERRUPTED), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


async def test_help_does_not_load_what_only_models_need() -> None:
    heavy = {"numpy", "cv2", "onnxruntime", "sqlalchemy"}
    code = f"import sys, billow.cli.__main__; print({heavy} & set(sys.modules))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert (await process.communicate())[0].decode().strip() == "set()"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("deadletters", "show", "0"), "greater than or equal to 1"),
        (("deadletters", "purge", "9" * 20), "less than or equal to"),
        (("up", "--log-level", "loud"), "'loud' is not one of"),
    ],
)
async def test_values_that_cannot_be_are_wrong_usage(args: tuple[str, ...], says: str) -> None:
    code, out, err = await billow(*args)
    assert (code, out) == (2, "")
    assert says in " ".join(err.replace("│", "").split())


async def test_models_list_says_that_the_stack_that_was_named_is_away() -> None:
    code, out, err = await billow("models", "list", BILLOW_NATS_URL=NOBODY)
    assert code == 0
    assert "rules" in out
    assert "Who serves them is not known" in err


async def test_records_come_in_the_order_given_and_one_failure_makes_exit_code_1(
    stack: Stack, tmp_path: Path, photo: Path
) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    missing = tmp_path / "missing.jpg"
    code, out, err = await billow("extract", str(empty), str(photo), str(missing), BILLOW_NATS_URL=stack.url)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["source"] for row in rows] == [str(empty), str(photo), str(missing)]
    assert [row["status"] for row in rows] == ["failed", "completed", "failed"]
    assert [row["error"] and row["error"]["code"] for row in rows] == ["empty_file", None, "file_not_found"]
    assert str(missing) in rows[2]["error"]["message"]
    assert all(row["schema"] == "billow.record.v1" for row in rows)
    assert (code, err) == (1, "")


async def test_a_folder_takes_all_below_it_and_text_comes_on_request(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.PNG").write_bytes(render_receipt(2)[0])
    (tmp_path / "1.png").write_bytes(render_receipt(1)[0])
    (tmp_path / "notes.txt").write_text("no document")
    code, out, _ = await billow("extract", "--with-text", str(tmp_path), BILLOW_NATS_URL=stack.url)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [Path(row["source"]).name for row in rows] == ["1.png", "2.PNG"]
    assert code == 0
    store = rows[0]["fields"]["store_name"]["text"].split()[0].lower()
    assert any(store in line.lower() for line in rows[0]["text_lines"])


async def test_a_table_shows_fields_items_and_times(stack: Stack, photo: Path) -> None:
    code, out, _ = await billow("extract", "--format", "table", str(photo), BILLOW_NATS_URL=stack.url)
    truth = render_receipt(1)[1]
    assert code == 0
    assert truth["fields"]["total"] in out
    for word in ("store_name", "as printed", "text-detection", "total", "completed"):
        assert word in out


async def test_submit_now_and_get_later(stack: Stack, photo: Path) -> None:
    code, out, _ = await billow("submit", str(photo), "--id", "from-the-shell", BILLOW_NATS_URL=stack.url)
    assert (code, out) == (0, f"from-the-shell\t{photo}\n")
    code, out, _ = await billow("get", "from-the-shell", "--wait", "100", BILLOW_NATS_URL=stack.url)
    assert code == 0
    assert json.loads(out)["document_id"] == "from-the-shell"


async def test_an_unknown_document_is_said(stack: Stack) -> None:
    code, out, err = await billow("get", "never-seen", BILLOW_NATS_URL=stack.url)
    assert (code, out) == (1, "")
    assert "never-seen" in err


async def test_the_list_of_models_shows_who_serves_them(stack: Stack) -> None:
    code, out, err = await billow("models", "list", BILLOW_NATS_URL=stack.url)
    assert (code, err) == (0, "")
    catalog, serving = out.split("\n\n", 1)
    for model in ("ppocr-v6-det-small_1-0-0", "ppocr-v6-rec-small_1-0-0", "rules_1-0-0"):
        assert model in catalog
        assert model in serving
    assert "queue" in serving


async def test_a_model_is_shown_with_who_serves_it(stack: Stack) -> None:
    async with Billow(stack.url) as client:

        async def nothing_queued() -> bool:
            return await client.queue_depth("text-recognition", "ppocr-v6-rec-small_1-0-0") == 0

        # Of a document before, the worker answers first, and takes the work out of the queue then.
        await until(nothing_queued)
    code, out, err = await billow("models", "show", "ppocr-v6-rec-small", BILLOW_NATS_URL=stack.url)
    assert (code, err) == (0, "")
    pid = stack.processes["worker-ppocr-v6-rec-small"].pid
    assert f":{pid} on cpu" in out
    assert "OTHER CONTENTS" not in out
    assert "0 requests" in out


async def test_the_version_is_told() -> None:
    assert await billow("--version") == (0, "billow 0.1.0\n", "")


@pytest.mark.parametrize("command", [["extract", "x.jpg"], ["get", "x"], ["submit", "x.jpg"]])
async def test_no_stack_is_exit_code_3_with_what_to_do(command: list[str]) -> None:
    code, out, err = await billow(*command, BILLOW_NATS_URL=NOBODY)
    assert (code, out) == (3, "")
    assert "billow up" in " ".join(err.split())


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["extract"], "Missing argument"),
        (["extract", "--jobs", "0", "x"], "--jobs"),
        (["extract", "--tenant", "No Token", "x"], "tenant"),
        (["submit", "--id", "x", "a.jpg", "b.jpg"], "--id"),
        (["worker", "no-such-model"], "no-such-model"),
        (["extract", "x", "--model", "rules"], "billow worker MODEL"),
        (["models", "pull", "ppocr-v6-det-smal"], "ppocr-v6-det-small"),
    ],
)
async def test_wrong_usage_is_exit_code_2_and_says_what(command: list[str], says: str) -> None:
    code, out, err = await billow(*command, BILLOW_NATS_URL=NOBODY)
    assert code == 2
    assert says in out + err


async def test_weights_with_a_wrong_sha256_are_never_loaded(stack: Stack, tmp_path: Path) -> None:
    folder = next((Path(__file__).parents[3] / "models").glob("ppocr-v6-det-small"))
    copy = tmp_path / "models" / "broken"
    copy.mkdir(parents=True)
    (copy / "weights.onnx").write_bytes(b"not the weights")
    manifest = (folder / "manifest.toml").read_text()
    before = manifest[: manifest.index("[weights]")].replace("ppocr-v6-det-small", "broken")
    weights = f'[weights]\nkind = "file"\nfile = "weights.onnx"\nsha256 = "{"0" * 64}"\n'
    (copy / "manifest.toml").write_text(before + weights)
    code, _, err = await billow("worker", "broken", BILLOW_NATS_URL=stack.url, BILLOW_MODELS=str(tmp_path / "models"))
    assert code == 1
    assert "sha256" in err
    assert "0" * 64 in err


async def test_a_worker_is_plugged_in_and_out_by_hand(stack: Stack, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = start("worker", "rules", BILLOW_NATS_URL=stack.url, BILLOW_READY_FILE=str(ready))
    try:
        await until(lambda: ready.exists() or process.poll() is not None, timeout=150)
        assert process.poll() is None, process.communicate()[1]
        async with Billow(stack.url) as client:
            record = await client.extract(render_receipt(4)[0], timeout=100)
        assert record.status == "completed"
    finally:
        process.send_signal(signal.SIGINT)
    _, err = await asyncio.to_thread(process.communicate, None, 150)
    assert process.returncode == 0
    assert "plugged in" in err and "plugged out" in err
    assert not ready.exists()


async def test_up_says_what_runs_where_and_ctrl_c_stops_all_of_it(tmp_path: Path, photo: Path) -> None:
    with start("up", "--data", str(tmp_path), "--port", "0", "--model", "rules") as process:
        screen = await screen_of(process)
        for part in ("nats-server", "nats://127.0.0.1:", "ocr", "layout", "receipt", "worker-rules", "billow.db"):
            assert part in screen
        children = children_of(process.pid)
        assert len(children) >= 5
        parts = [child.pid for child in psutil.Process(process.pid).children()]
        process.send_signal(signal.SIGINT)
        _, rest = await asyncio.to_thread(process.communicate, None, 150)
    assert process.returncode == 0
    assert "Stopped" in rest
    assert not any(running(pid) for pid in parts)
    # What a part had started itself ends with it, a moment later.
    await until(lambda: not any(running(pid) for pid in children))


async def test_when_up_is_killed_its_parts_do_not_stay(tmp_path: Path) -> None:
    with start("up", "--data", str(tmp_path), "--port", "0", "--model", "rules") as process:
        await screen_of(process)
        children = children_of(process.pid)
        process.kill()
    await until(lambda: not any(running(pid) for pid in children), timeout=150)


async def screen_of(process: "subprocess.Popen[str]") -> str:
    """What `billow up` shows once everything runs."""
    assert process.stderr is not None
    screen = ""
    while "Ctrl-C" not in screen:
        line = await asyncio.to_thread(process.stderr.readline)
        assert line, f"it ended:\n{screen}"
        screen += line
    return screen


def children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
