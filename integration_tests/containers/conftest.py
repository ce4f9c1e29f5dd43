"""What is said of images and times at the end of a run, so that the log of CI shows it."""

import pytest

from integration_tests.images import PYTHON, ours
from integration_tests.images.engine import check_engine

_lines = pytest.StashKey[list[str]]()


@pytest.fixture
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Lines that are added here stand below the results of the whole run."""
    return pytestconfig.stash.setdefault(_lines, [])


@pytest.fixture(scope="session")
def our_images(engine: None) -> dict[str, str]:
    """Our images for CPUs by their names without tag; they were built from the checkout before the tests began."""
    images = {name: f"{name}:{ours.TAG}" for name in ours.CPU}
    check_engine((PYTHON, *images.values()))
    return images


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    none: list[str] = []
    if lines := config.stash.get(_lines, none):
        terminalreporter.section("containers")
        for line in lines:
            terminalreporter.write_line(line)
