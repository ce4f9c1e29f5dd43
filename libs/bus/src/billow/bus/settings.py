"""Who we are for NATS: the only place of this package that reads the environment.

Every connection of every process needs it, so it is read here and not handed through all of them.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec
from msgspec import Meta

from billow.runtime.errors import UsageError
from billow.runtime.settings import load

_SUBJECT = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of a connection, `BILLOW_<FIELD>`."""

    nats_user: str = ""
    """For a server that asks for a user; wins over the one in `BILLOW_NATS_URL`. Without a password it is a token."""
    nats_password: str = ""
    nats_credentials: str = ""
    """Path of a `.creds` file, for a server that asks for a signed token; it wins over user and password."""
    nats_inbox_prefix: Annotated[str, Meta(pattern=_SUBJECT)] = "_INBOX"
    """What our reply subjects begin with. A site that may subscribe to `_INBOX.site.>` only needs `_INBOX.site`."""

    @classmethod
    def from_environment(cls) -> "Access":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)

    def credentials(self) -> Path | None:
        """The credentials file.

        Raises:
            UsageError: it cannot be used.
        """
        if not self.nats_credentials:
            return None
        path = Path(self.nats_credentials).expanduser()
        if not path.is_file():
            raise UsageError(f"BILLOW_NATS_CREDENTIALS names {path}, which is not a file; correct or unset it.")
        if find_spec("nkeys") is None:
            raise UsageError(
                "BILLOW_NATS_CREDENTIALS needs the package nkeys: `pip install 'nats-py[nkeys]'`, or use "
                "BILLOW_NATS_USER and BILLOW_NATS_PASSWORD."
            )
        return path


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of whoever hands in documents, `BILLOW_<FIELD>`."""

    max_backlog: Annotated[int, Meta(ge=1)] = 100_000
    """Documents that may wait for the OCR service; with more than that no new ones are taken."""

    @classmethod
    def from_environment(cls) -> "Limits":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)


class Servers:
    """The servers that a URL names, and the user in it."""

    def __init__(self, url: str) -> None:
        """`url` may name several, separated by commas; the first user in them is taken for all.

        The client would know a server that the cluster tells it about later without a user, and be refused there.

        Raises:
            UsageError: it names none.
        """
        self.urls: list[str] = []
        """Without users, so they may be shown and logged."""
        self.user = ""
        self.password = ""
        for part in (piece.strip() for piece in url.split(",")):
            if not part:
                continue
            split = urlsplit(part if "://" in part else f"nats://{part}")
            user, _, place = split.netloc.rpartition("@")
            if user and not self.user:
                name, _, password = user.partition(":")
                self.user, self.password = unquote(name), unquote(password)
            self.urls.append(urlunsplit(split._replace(netloc=place)))
        if not self.urls:
            raise UsageError("BILLOW_NATS_URL names no server; correct or unset it.")

    def known_as(self, access: Access) -> Access:
        """`access`, with the user of the URL where it names none."""
        if access.nats_user or not self.user:
            return access
        return msgspec.structs.replace(access, nats_user=self.user, nats_password=self.password)

    def __str__(self) -> str:
        return ",".join(self.urls)
