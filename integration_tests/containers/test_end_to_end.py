"""Receipts through our images as the chart runs them: three NATS nodes, a workstation behind a leaf, PostgreSQL."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from billow.client import Billow
from billow.testkit.consuming import until
from integration_tests.chaos.verdict import judge
from integration_tests.cluster import Containers
from integration_tests.cluster.containers import at_once
from integration_tests.containers.installation import Installation
from integration_tests.containers.pods import Pod
from integration_tests.images import ours

pytestmark = pytest.mark.timeout(900)

SAMPLES = Path(__file__).parents[2] / "samples"
CAFE, MARKET, INVOICE = SAMPLES / "receipt-cafe.jpg", SAMPLES / "receipt-market.jpg", SAMPLES / "invoice.pdf"
TASK, MODEL = "text-recognition", "ppocr-v6-rec-small_1-0-0"
RECOGNISER = "worker-recogniser"
PATIENCE = 240.0
"""seconds: the machine may be busy with other things"""


def facts_of(pod: Pod) -> dict[str, str]:
    """What a process in the pod sees of its rights."""
    script = """
        echo "user $(id -u):$(id -g)"
        for folder in / /etc /opt/billow /var/tmp; do
            touch $folder/probe 2>/dev/null && echo "changed $folder"
        done
        for folder in /tmp /run/billow; do
            touch $folder/probe && rm $folder/probe && echo "free_$(basename $folder) yes"
        done
        sed -n 's/:\\t/ /; /^CapEff\\|^CapBnd\\|^NoNewPrivs/p' /proc/1/status
    """
    code, output = pod.execute("sh", "-c", script)
    assert code == 0, output
    return dict(line.split(maxsplit=1) for line in output.splitlines())


def see_to(pod: Pod) -> None:
    """It lives, and has the rights that the chart gives it and no others."""
    assert facts_of(pod) == {
        "user": "10001:10001",
        "free_tmp": "yes",
        "free_billow": "yes",
        "CapEff": "0" * 16,
        "CapBnd": "0" * 16,
        "NoNewPrivs": "1",
    }, pod.name
    # As often as the chart asks before it would give the pod up.
    assert any(pod.live for _ in range(6)), pod.name


async def extract(billow: Billow, photo: Path, total: str) -> str:
    """Hand in, await the record and look at it; returns the document's id."""
    name = await billow.submit(photo)
    await expect(billow, name, total)
    return name


async def expect(billow: Billow, name: str, total: str) -> None:
    record = await billow.result(name, timeout=PATIENCE)
    assert record.status == "completed", record.error
    assert record.fields["total"].value == total


async def extract_across_an_exchange(installation: Installation, billow: Billow, photo: Path, total: str) -> str:
    """The same, while the only recogniser is stopped, and started only once the document waits for it."""
    (worker,) = installation.pods(RECOGNISER)
    assert await asyncio.to_thread(worker.terminate) == 0, worker.log()
    name = await billow.submit(photo)

    async def waits() -> bool:
        return await billow.queue_depth(TASK, MODEL) > 0

    await until(waits, PATIENCE)
    assert MODEL not in {each.model for each in await billow.workers()}
    with pytest.raises(TimeoutError):
        await billow.result(name, timeout=1)
    other = installation.new(RECOGNISER)
    await asyncio.to_thread(other.start)
    await asyncio.to_thread(other.wait_ready)
    await expect(billow, name, total)
    return name


async def test_a_receipt_goes_through_the_containers_while_a_worker_is_exchanged(
    containers: Containers, our_images: dict[str, str], tmp_path: Path, summary: list[str]
) -> None:
    sys.stderr.write(f"logs of all pods: {tmp_path / 'logs'}\n")
    denied = await asyncio.to_thread(containers.denials)
    times = [time.monotonic()]
    async with Installation.open(containers, tmp_path, tag=ours.TAG) as installation:
        pods = await asyncio.to_thread(installation.install)
        times.append(time.monotonic())
        assert {pod.image for pod in pods} <= set(our_images.values())
        await asyncio.gather(*(asyncio.to_thread(see_to, pod) for pod in pods))
        async with installation.client() as billow, installation.bus() as bus:
            times.append(time.monotonic())
            names = [await extract(billow, CAFE, "46.86")]
            times.append(time.monotonic())
            names.append(await extract_across_an_exchange(installation, billow, MARKET, "22.36"))
            times.append(time.monotonic())
            # PDFs are read by a process of their own, under the limits of the pod.
            names.append(await extract(billow, INVOICE, "4437.47"))
            seen = await judge(bus, installation.database_url, "default", names)
            assert seen.good and seen.completed == len(names), seen
        codes = await asyncio.to_thread(at_once, [pod.terminate for pod in installation.pods()])
        assert codes == [0] * len(pods)
        # Users with the least rights are enough for all of this.
        assert sorted(await asyncio.to_thread(containers.denials)) == sorted(denied)
    started, ready, handed_in, answered, done = times
    summary.append(
        f"{len(pods)} pods installed and ready in {ready - started:.1f} s, first receipt in "
        f"{answered - handed_in:.1f} s, second with an exchanged worker in {done - answered:.1f} s, "
        f"all in {time.monotonic() - started:.1f} s"
    )
