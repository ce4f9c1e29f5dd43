"""A port for whoever is told one by its number."""

import contextlib
import secrets
import socket

import pytest


@pytest.fixture
def port() -> int:
    """Nobody listens on it now.

    From below those that the system gives to whoever asks for any: nobody else gets it before it is used, nor while it
    is tried after its end.
    """
    while True:
        number = secrets.choice(range(10_000, 20_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", number))
            return number
