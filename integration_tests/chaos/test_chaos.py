"""The short run of chaos, about three minutes; `make chaos` is the long one."""

import os
import secrets
from pathlib import Path

import pytest

from integration_tests.chaos.run import run
from integration_tests.cluster import Containers

DOCUMENTS, SECONDS = 400, 120.0


@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled_while_every_five_seconds_something_breaks(
    containers: Containers, tmp_path: Path
) -> None:
    seed = int(os.environ.get("BILLOW_CHAOS_SEED") or secrets.randbelow(1_000_000))
    print(f"seed {seed}: set BILLOW_CHAOS_SEED to repeat it")
    outcome = await run(tmp_path / "chaos", documents=DOCUMENTS, seconds=SECONDS, seed=seed, containers=containers)
    print(outcome.describe())
    assert outcome.verdict.accepted == DOCUMENTS
    assert outcome.verdict.good, outcome.describe()
    assert len(outcome.deeds) >= SECONDS / 5 / 3, "too little was broken to show anything"
