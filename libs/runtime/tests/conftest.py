"""A port for whoever is told one by its number."""

import pytest

from billow.testkit.ports import free_port


@pytest.fixture
def port() -> int:
    """Nobody listens on it now."""
    return free_port()
