"""The store's own tests, on the PostgreSQL that deployments use: in a container, over the network, with a password."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration_tests.cluster import Containers

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[1]
TESTS = ("test_store.py", "test_migrate.py", "test_rebuild.py")


def test_the_store_keeps_its_promises_on_a_real_server(containers: Containers, tmp_path: Path) -> None:
    folder = ROOT / "services" / "receipt" / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "postgresql", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inner'}", *(str(folder / name) for name in TESTS)],
        env=os.environ | {"BILLOW_TEST_DATABASE_URL": f"postgresql+asyncpg://{containers.database}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout, done.stdout
