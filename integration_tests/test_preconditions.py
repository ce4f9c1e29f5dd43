"""What the suite needs of a machine: where it is missing the run fails and says what to do, and never skips."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration_tests.cluster.docker import Network
from integration_tests.cluster.leftovers import remove_leftovers
from integration_tests.images.engine import EngineError, check_room

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[1]
NOBODY = "tcp://127.0.0.1:1"
"""Where no Docker engine listens."""


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False
    )


def test_without_docker_the_preparation_fails_and_says_what_to_do() -> None:
    done = python("-m", "integration_tests.images", DOCKER_HOST=NOBODY)
    assert done.returncode == 1
    assert "Start it, or unset it" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_docker_tests_fail_and_are_not_skipped(tmp_path: Path) -> None:
    inner = ("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}")
    done = python(*inner, "integration_tests/test_single_machine.py", DOCKER_HOST=NOBODY)
    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "The Docker engine does not answer; `make test-integration` installs and starts it." in done.stdout
    assert "skipped" not in done.stdout


def test_a_full_disk_is_told_with_its_folder(tmp_path: Path) -> None:
    check_room([tmp_path], least=1)
    with pytest.raises(EngineError, match=f"GiB are free in {tmp_path}.*Make room"):
        check_room([tmp_path], least=1 << 60)


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(engine: None) -> None:
    leave = "from integration_tests.cluster.docker import Network; print(Network().name); os.kill(os.getpid(), 9)"
    mine = Network()
    try:
        left = python("-W", "ignore", "-c", f"import os; {leave}", PYTHONUNBUFFERED="1").stdout.strip()
        removed = remove_leftovers()
        assert left in removed
        assert mine.name not in removed
    finally:
        mine.remove()
