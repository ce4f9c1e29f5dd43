"""`python -m benchmarks.replay` on a history of a few documents."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.replay import p95

ROOT = Path(__file__).parents[2]


def measure(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.replay", "--documents", "60", "--rounds", "1", "--singles", "3"]
    command += ["--detect-ms", "1", "--recognise-ms", "1", "--max-growth", "1000", "--min-rate", "0.1", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)


@pytest.mark.timeout(600)
def test_it_measures_both_and_checks_that_everything_was_replayed() -> None:
    done = measure()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 documents replayed at " in done.stdout
    for part in ("layout", "nats-server", "driver", "alone", "beside ", "met    vanished as expected: 60.0"):
        assert part in done.stdout


def test_the_95th_percentile_leaves_the_slowest_out() -> None:
    assert 95 <= p95([float(value) for value in range(1, 101)]) <= 96
