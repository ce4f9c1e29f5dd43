"""Whoever changes what runs: the way to the hub, and the name that stays with a change."""

import getpass
import socket

from billow.bus.connection import Bus
from billow.client.billow import DEFAULT_URL
from billow.client.settings import ClientSettings


async def connect(name: str) -> Bus:
    """Connect to the stack at BILLOW_NATS_URL, through BILLOW_NATS_DOMAIN where that is set.

    Raises:
        StackUnreachableError: NATS does not answer.
    """
    settings = ClientSettings.from_environment()
    return await Bus.connect(
        settings.nats_url or DEFAULT_URL, name=name, domain=settings.nats_domain or None, timeout=5
    )


def who() -> str:
    """`user@host`"""
    return f"{getpass.getuser()}@{socket.gethostname()}"
