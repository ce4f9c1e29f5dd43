"""Fetching a document from the web, without lending our place in the network to whoever chose the URL."""

import ipaddress
import socket
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import aiohttp

from billow.client.size import check_size
from billow.runtime.errors import PermanentError, TransientError

_REDIRECTS = 5
_PART = 256 * 1024
_LONGEST_DELAY = 300.0
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which the same may succeed later."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UrlRules(NamedTuple):
    """What may be fetched."""

    timeout: float = 30.0
    """seconds for all of it"""
    allow_private: bool = False
    """Whether addresses of this machine and of private networks may be reached."""


async def fetch(url: str, *, max_bytes: int, rules: UrlRules) -> bytes:
    """GET it once, following up to 5 redirects.

    A URL is often chosen by a stranger, and we may stand where the stranger does not: beside a cloud's metadata service
    or an unprotected database (server-side request forgery). So addresses that are not public are refused, each time a
    connection is made: what a name meant a moment before, or where a redirect leads, makes no difference. Neither
    proxies nor `.netrc` of the environment are used.

    Raises:
        PermanentError: `url_invalid`, `url_private`, `url_refused` (the answer was an error that stays),
            `url_not_a_document` (a web page or other text), `file_too_large`.
        TransientError: no connection, no answer in time, or an error that passes; `delay` is what the server asked for.
    """
    try:
        async with _session(rules) as session, session.get(url, max_redirects=_REDIRECTS) as answer:
            _check_answer(answer, max_bytes)
            parts: list[bytes] = []
            size = 0
            async for part in answer.content.iter_chunked(_PART):
                size += len(part)
                check_size(size, max_bytes)
                parts.append(part)
            return b"".join(parts)
    except (aiohttp.InvalidURL, aiohttp.TooManyRedirects, aiohttp.NonHttpUrlClientError) as e:
        raise PermanentError(
            f"The URL cannot be fetched: {e or type(e).__name__}. Correct it.", code="url_invalid"
        ) from e
    except TimeoutError as e:
        raise TransientError(f"The URL gave no whole answer within {rules.timeout:g} s. Try again later.") from e
    except (aiohttp.ClientError, OSError) as e:
        if (private := _private_cause(e)) is not None:
            raise PermanentError(
                f"The URL leads to {private}, which is not a public address. Hand in the bytes instead, or set "
                "BILLOW_URL_ALLOW_PRIVATE=true where all URLs come from people you trust.",
                code="url_private",
            ) from e
        raise TransientError(f"The URL cannot be fetched now: {e or type(e).__name__}. Try again later.") from e


def _session(rules: UrlRules) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        use_dns_cache=False, force_close=True, socket_factory=None if rules.allow_private else _public_socket
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=rules.timeout),
        headers={"User-Agent": "billow", "Accept": "image/*, application/pdf, application/octet-stream;q=0.9"},
        trust_env=False,
        auto_decompress=True,
    )


class PrivateAddressError(OSError):
    """The address is not one of the public network."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is not a public address")
        self.address = address


def _public_socket(address: tuple[Any, ...]) -> socket.socket:
    """The socket for a connection that is about to be made, of `(family, type, protocol, name, address)`."""
    family, type_, protocol, _, where = address
    host = str(where[0])
    if not is_public(host):
        raise PrivateAddressError(host)
    return socket.socket(family, type_, protocol)


def is_public(host: str) -> bool:
    """Whether an IP address belongs to the public network, also one that is wrapped into IPv6."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        address = inner or address
    return address.is_global and not address.is_multicast


def _private_cause(error: BaseException | None) -> str | None:
    """The address that was refused, wherever among the causes it hides."""
    while error is not None and not isinstance(error, PrivateAddressError):
        if isinstance(error, aiohttp.ClientConnectorError) and error.os_error is not error.__cause__:
            return _private_cause(error.os_error)
        error = error.__cause__ or error.__context__
    return error.address if error is not None else None


def _check_answer(answer: aiohttp.ClientResponse, max_bytes: int) -> None:
    what = f"The URL was answered with {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in _AGAIN:
        raise TransientError(f"{what}. Try again later.", delay=_delay(answer))
    if answer.status != 200:
        raise PermanentError(f"{what}. See whether it is right and open to whoever has it.", code="url_refused")
    type_ = answer.content_type
    if type_.startswith("text/") or type_ in {"application/json", "application/xhtml+xml", "application/xml"}:
        raise PermanentError(
            f"The URL gives {type_}, neither a photo nor a PDF; perhaps it leads to a page for people, or a login.",
            code="url_not_a_document",
        )
    check_size(answer.content_length or 0, max_bytes)


def _delay(answer: aiohttp.ClientResponse) -> float:
    """Seconds that the server asks for, as a number or a date."""
    given = answer.headers.get("Retry-After", "")
    try:
        seconds = (
            float(given)
            if given.isdigit()
            else (parsedate_to_datetime(given) - parsedate_to_datetime(answer.headers["Date"])).total_seconds()
        )
    except (ValueError, TypeError, KeyError):
        return 5.0
    return min(max(seconds, 1.0), _LONGEST_DELAY)
