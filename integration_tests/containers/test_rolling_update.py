"""A new version of every image under load: pods are exchanged as Kubernetes does it, and no document notices."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from billow.testkit.models import DETECTOR_TOKEN, OLD, write_pretend_models
from integration_tests.chaos.verdict import judge
from integration_tests.cluster import Containers
from integration_tests.containers.installation import Installation
from integration_tests.containers.steady_load import SteadyLoad
from integration_tests.images import ours

pytestmark = pytest.mark.timeout(900)

NEXT = "test2"
RATE = 5.0
"""documents/s"""
BETWEEN = 35
"""Documents that are completed between two exchanges."""
ORDER = ("ocr", "layout", "receipt", "worker-detector", "worker-recogniser", "worker-rules")
MODELS = "/opt/pretend"
DETECT_MS, RECOGNISE_MS = 80.0, 150.0
"""Long enough for a few documents to be in hand whenever a pod is told to go."""


def values() -> dict[str, Any]:
    """Models that only sleep, so that the machine has room for the load."""
    return {
        "hub": {
            "services": {
                "ocr": {"env": {"BILLOW_DETECTION_MODEL": DETECTOR_TOKEN, "BILLOW_RECOGNITION_MODEL": OLD}},
            },
        },
        "site": {
            "workerDefaults": {"env": {"BILLOW_MODELS": MODELS}},
            "workers": [
                {"name": "detector", "model": DETECTOR_TOKEN, "runtime": "python"},
                {"name": "recogniser", "model": OLD, "runtime": "python"},
            ],
        },
    }


async def exchange(old: Installation, new: Installation, component: str) -> float:
    """Replace the pods of a component by those of the new version, as its Deployment says; returns the seconds."""
    started = time.monotonic()
    before = old.pods(component)
    after = [new.new(component) for _ in before]
    assert before
    for leaves, comes in zip(before, after, strict=True):
        assert leaves.image != comes.image
        # maxSurge 1 for services; of workers 0, since a slice of a GPU that is taken cannot be taken again.
        steps = [comes.start, comes.wait_ready]
        if component.startswith("worker-"):
            assert await asyncio.to_thread(leaves.terminate) == 0, leaves.log()
            for step in steps:
                await asyncio.to_thread(step)
        else:
            for step in steps:
                await asyncio.to_thread(step)
            assert await asyncio.to_thread(leaves.terminate) == 0, leaves.log()
    return time.monotonic() - started


async def test_every_image_is_exchanged_under_load_and_nothing_is_lost_or_doubled(
    containers: Containers, our_images: dict[str, str], tmp_path: Path, summary: list[str]
) -> None:
    sys.stderr.write(f"logs of all pods: {tmp_path}/*/logs\n")
    await asyncio.to_thread(ours.build, list(our_images), tag=NEXT, version="0.0.1")
    models = tmp_path / "models"
    write_pretend_models(models, detect_ms=DETECT_MS, recognise_ms=RECOGNISE_MS)
    options: dict[str, Any] = {"files": {models: MODELS}, **values()}
    async with Installation.open(containers, tmp_path / "old", tag=ours.TAG, **options) as old:
        await asyncio.to_thread(old.install)
        new = Installation(containers, tmp_path / "new", tag=NEXT, **options)
        assert sorted(ORDER) == sorted(new.specs)
        images = {spec.main.image for spec in (*new.hooks.values(), *new.specs.values())}
        assert images == {f"{name}:{NEXT}" for name in our_images}
        seconds: dict[str, float] = {}
        try:
            async with old.client() as billow, old.bus() as bus:
                async with SteadyLoad(billow, bus, rate=RATE).running() as load:
                    await load.more(BETWEEN)
                    started = time.monotonic()
                    await asyncio.to_thread(new.run_hooks)
                    seconds["hooks"] = time.monotonic() - started
                    for component in ORDER:
                        seconds[component] = await exchange(old, new, component)
                        await load.more(BETWEEN)
                verdict = await judge(bus, old.database_url, "default", load.accepted)
        finally:
            await asyncio.to_thread(new.close)
        assert old.pods() == []
    rolls = ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
    summary.append(f"rolling update: {rolls}")
    summary.append(load.describe())
    # The machine kept up with handing in, so the exchanges happened under the load that is meant.
    assert load.rate >= 0.9 * RATE
    assert load.tasks == {frozenset({"text-detection", "text-recognition", "token-classification"})}
    assert verdict.good and verdict.completed == verdict.accepted, verdict
