"""What a workstation site needs to join a hub, as one line of text; pure.

`bw1_` and base64url of zlib of JSON. Its checksum tells a token that was cut off. It holds a password: who has the
token may do what the site may.
"""

import base64
import binascii
import zlib
from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta

from billow.runtime.errors import UsageError
from billow.schemas.tokens import check_token

_HEAD = "bw1_"
_MOST = 64 * 1024
"""bytes of a token that is opened; what is larger is none"""
_SCHEMES = ("tls", "wss")
# What a file that systemd, a shell and compose read alike can hold between single quotes.
_PLAIN = r"^[^\s'\"\\$]+(?!\n)$"


class SiteModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the site may serve."""

    name: str
    """token: name and version"""
    gpu: bool = True
    """Whether a GPU helps it; a Python model runs on the CPU."""


class SiteToken(msgspec.Struct, frozen=True, kw_only=True):
    """All that a site is told."""

    site: str
    hub: tuple[str, ...]
    """`tls://host:port` or `wss://host:port` of each server of the hub, without user"""
    user: Annotated[str, Meta(pattern=_PLAIN)]
    password: Annotated[str, Meta(pattern=_PLAIN)]
    domain: str = "hub"
    """JetStream domain of the hub"""
    ca: str = ""
    """PEM of the CA that signed the hub's certificate; empty for one that every machine knows"""
    models: tuple[SiteModel, ...] = ()

    @property
    def inbox_prefix(self) -> str:
        """`BILLOW_NATS_INBOX_PREFIX` of its workers"""
        return f"_INBOX.{self.site}"

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the hub, with user and password."""
        who = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return tuple(url.replace("://", f"://{who}@", 1) for url in self.hub)


def check(token: SiteToken) -> SiteToken:
    """The same token.

    Raises:
        UsageError: nobody could join with it; the message says why.
    """
    try:
        for name, what in ((token.site, "site"), (token.domain, "domain"), *((m.name, "model") for m in token.models)):
            check_token(name, what)
    except ValueError as e:
        raise UsageError(str(e)) from e
    if not token.hub:
        raise UsageError("No server of the hub is named. Name each with --hub tls://HOST:7422.")
    for url in token.hub:
        _check_url(url)
    if len({urlsplit(url).scheme for url in token.hub}) > 1:
        raise UsageError("A leaf dials either tls:// or wss://, not both. Make a token for each kind of site.")
    if token.ca and "BEGIN CERTIFICATE" not in token.ca:
        raise UsageError("The CA is no certificate in PEM form; name the file that signed the hub's certificate.")
    if len({model.name for model in token.models}) < len(token.models) or not token.models:
        raise UsageError("Name each model that the site shall serve once, and at least one.")
    return token


def pack(token: SiteToken) -> str:
    """One line of letters, digits, `-` and `_`. Raises as `check`."""
    packed = zlib.compress(msgspec.json.encode(check(token)), 9)
    return _HEAD + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def unpack(text: str) -> SiteToken:
    """What `pack` was given; white space is left out, as from a terminal that breaks lines.

    Raises:
        UsageError: it is no token, or not a whole one.
    """
    packed = "".join(text.split())
    if not packed.startswith(_HEAD):
        raise UsageError(f"This is no token of a workstation: it would begin with {_HEAD}. Copy the whole line.")
    body = packed.removeprefix(_HEAD)
    try:
        opener = zlib.decompressobj()
        data = opener.decompress(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True), _MOST)
        if not opener.eof:
            raise ValueError
        token = msgspec.convert(msgspec.json.decode(data), SiteToken)
    except (ValueError, binascii.Error, zlib.error, msgspec.MsgspecError) as e:
        # Not the cause: it may show a part of the password.
        raise UsageError("This token is damaged or cut off. Copy the whole line once more.") from e
    return check(token)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname and parts.port)
    except ValueError:
        raise UsageError(f"--hub {url}: the port is no number.") from None
    if parts.scheme not in _SCHEMES or not named or parts.username or parts.path.strip("/") or parts.query:
        raise UsageError(
            f"--hub {url.rpartition('@')[2]}: write tls://HOST:7422, or wss://HOST:443 where only HTTPS leads out, "
            "without a user."
        )
    if set(url) & set("'\"\\$ \t\n"):
        raise UsageError(f"--hub {url}: no host name has such characters.")
