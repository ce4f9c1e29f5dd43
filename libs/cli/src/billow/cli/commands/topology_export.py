"""`billow topology export`: what others need to know about the topology, made from the declaration."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from billow.bus.exports.asyncapi import asyncapi_bytes
from billow.bus.exports.catalogue import catalogue
from billow.bus.exports.permissions import Serves, identities, worker
from billow.bus.exports.scaling import consumer_list
from billow.bus.exports.users import users_conf
from billow.cli.stack.stack import DEFAULT_MODELS
from billow.engines.catalog import Catalog
from billow.engines.settings import model_folders
from billow.runtime.errors import UsageError
from billow.schemas.tokens import check_token


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """For whom permissions are written."""

    tenants: tuple[str, ...] = ("default",)
    models: tuple[str, ...] = ()
    """Names or tokens; the default ones if none is named."""
    sites: tuple[str, ...] = ()
    """Workstation sites whose leaf nodes serve these models."""
    domain: str = ""
    """JetStream domain of the hub."""


def asyncapi() -> bytes:
    """The AsyncAPI 3 document, as JSON."""
    return asyncapi_bytes()


def catalogue_page() -> bytes:
    """The event catalogue, as Markdown."""
    return catalogue().encode()


def consumers() -> bytes:
    """The consumers to scale by, as JSON."""
    return msgspec.json.format(msgspec.json.encode(consumer_list()), indent=2) + b"\n"


def permissions(users: Users) -> bytes:
    """The users, as a file that nats-server's configuration includes.

    Raises:
        UsageError: a model that nobody knows.
        ValueError: a tenant or site that is no token.
    """
    serves = _serves(users.models)
    tenants = [check_token(tenant, "tenant") for tenant in users.tenants]
    found = identities(tenants=tenants, models=serves, domain=users.domain)
    for site in users.sites:
        found.append(worker(f"site-{check_token(site, 'site')}", serves, users.domain, site=site))
    return users_conf(found).encode()


def write(data: bytes, output: Path | None) -> None:
    """To the file, or to stdout.

    Raises:
        UsageError: the file cannot be written.
    """
    if output is None:
        sys.stdout.write(data.decode())
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(data)
    except OSError as e:
        raise UsageError(f"{output} cannot be written: {e.strerror}. Choose another place for --output.") from e


def _serves(models: Sequence[str]) -> list[Serves]:
    catalog = Catalog(model_folders())
    manifests = [catalog.get(name) for name in models or DEFAULT_MODELS]
    return [Serves(manifest.task, manifest.token) for manifest in manifests]
