"""Ports for programs that are told one by its number."""

import contextlib
import secrets
import socket

_RANGE = range(10_000, 30_000)
"""Below those that systems give to whoever asks for any (Linux: from 32768), so nobody gets one between its choice and
its use, however long a program takes to start, nor while it is down for a moment."""


def free_ports(count: int) -> list[int]:
    """Different ports on which nobody listens now, at any address of this machine."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(_RANGE)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104 - it must be free at each address; nobody listens
            found.add(port)
    return list(found)


def free_port() -> int:
    """One of `free_ports`."""
    (port,) = free_ports(1)
    return port
