"""What pods share on one machine; needs no Docker."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from integration_tests.containers.pods import make_volume

PODS = 8


def test_pods_that_start_at_once_share_one_folder_of_the_machine(tmp_path: Path) -> None:
    together = threading.Barrier(PODS)

    def start(folder: Path) -> tuple[int, int]:
        together.wait()
        make_volume(folder, None, os.getgid())
        state = folder.stat()
        return stat.S_IMODE(state.st_mode), state.st_gid

    with ThreadPoolExecutor(PODS) as threads:
        for turn in range(20):
            seen = list(threads.map(start, [tmp_path / "site" / str(turn)] * PODS))
            assert seen == [(0o2777, os.getgid())] * PODS


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "settings"
    make_volume(folder, {"users": "one"}, os.getgid())
    make_volume(folder, {"users": "another"}, os.getgid())
    assert (folder / "users").read_text() == "one"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
