"""`billow workstation`: a token at the hub, and the files that it becomes at a site."""

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from billow.bus.exports.permissions import Serves, worker
from billow.cli.stack.stack import DEFAULT_MODELS
from billow.cli.workstation_files import WORKERS, Machine, files, write
from billow.cli.workstation_token import SiteModel, SiteToken, pack, unpack
from billow.engines.catalog import Catalog
from billow.engines.settings import model_folders
from billow.runtime.errors import UsageError
from billow.schemas.tokens import check_token


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """As written on the command line."""

    site: str
    hub: tuple[str, ...]
    models: tuple[str, ...] = ()
    """Names or tokens; the default ones if none is named."""
    ca: Path | None = None
    password_file: Path | None = None
    """Of a site that has one already."""
    domain: str = "hub"


def invite(invitation: Invitation, err: Console) -> None:
    """Print the token on stdout, and on stderr what the hub has to know.

    Raises:
        UsageError: something in it cannot be.
        ValueError: the site is no token.
    """
    check_token(invitation.site, "site")
    catalog = Catalog(model_folders())
    manifests = [catalog.get(name) for name in invitation.models or DEFAULT_MODELS]
    serves = [Serves(manifest.task, manifest.token) for manifest in manifests]
    identity = worker(f"site-{invitation.site}", serves, invitation.domain, site=invitation.site)
    given = _read(invitation.password_file, "--password-file").strip() if invitation.password_file else ""
    # A letter first, and no special character: nats-server's environment and a URL take it as it is.
    password = given or f"p{secrets.token_hex(16)}"
    fields = {
        "site": invitation.site,
        "hub": invitation.hub,
        "user": identity.name,
        "password": password,
        "domain": invitation.domain,
        "ca": _read(invitation.ca, "--ca") if invitation.ca else "",
        "models": [SiteModel(name=each.token, gpu=set(each.runtimes) != {"python"}) for each in manifests],
    }
    try:
        token = msgspec.convert(fields, SiteToken, from_attributes=True)
    except msgspec.ValidationError as e:
        raise UsageError("The password may have no white space, quote, backslash or dollar sign.") from e
    sys.stdout.write(pack(token) + "\n")
    err.print(Text("The token holds a password: pass it on as one. Before the site joins, at the hub:", style="bold"))
    if not given:
        err.print(Text(f"  {identity.password_variable}={password}", style="cyan"), soft_wrap=True)
        err.print("  is set in the environment of each nats-server, and")
    models = "".join(f" --model {each.name}" for each in manifests) if invitation.models else ""
    export = f"billow topology export permissions --domain {invitation.domain} --site {invitation.site}{models}"
    err.print(Text(f"  {export} -o users.conf", style="cyan"), soft_wrap=True)
    err.print("  (with all other sites and tenants too) gives it its rights. Then restart them, one after the other.")


def join(text: str, folder: Path, machine: Machine, models: Sequence[str], err: Console) -> None:
    """Write the site's configuration and name the workers on stdout, one a line. Joining again replaces it.

    Raises:
        UsageError: the token or the machine cannot be; nothing was written, unless it says which file could not.
    """
    token = unpack(text)
    if models:
        token = msgspec.structs.replace(token, models=_chosen(token, models))
    contents = files(token, machine)
    write(folder, contents)
    for name in contents:
        if name.startswith(f"{WORKERS}/"):
            sys.stdout.write(Path(name).stem + "\n")
    err.print(Text(f"Site {token.site} is set up in {folder}. It dials {', '.join(token.hub)}.", style="bold"))


def read_token(given: str) -> str:
    """What was given, or for `-` the first line of stdin: the arguments of a process are seen by all of its machine."""
    return sys.stdin.readline() if given == "-" else given


def _chosen(token: SiteToken, models: Sequence[str]) -> tuple[SiteModel, ...]:
    """Those of the token that were named, by name or with version."""
    known = {name: model for model in token.models for name in (model.name, model.name.rpartition("_")[0])}
    if unknown := [name for name in models if name not in known]:
        may = ", ".join(model.name for model in token.models)
        raise UsageError(f"The site may not serve {', '.join(unknown)}; its token is for {may}.")
    return tuple(known[name] for name in models)


def _read(path: Path, option: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no text"
        raise UsageError(f"{option} {path} cannot be read: {reason}.") from e
