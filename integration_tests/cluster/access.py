"""Certificates and users of a test cluster."""

import json
from collections.abc import Iterable
from pathlib import Path

import trustme

from billow.bus.exports.permissions import Serves, worker
from billow.bus.exports.permissions import identities as all_identities
from billow.bus.exports.rights import Identity
from billow.bus.exports.users import users_conf as users_text

DOMAIN = "hub"
SITES = ("site-a", "site-b")
BACKEND = "backend"
PASSWORD = "secret-of-a-test"
MODELS_OF_A_SITE = (
    Serves("text-detection", "pretend-det_1-0-0"),
    Serves("text-recognition", "pretend-rec_1-0-0"),
    Serves("text-detection", "ppocr-v6-det-small_1-0-0"),
    Serves("text-recognition", "ppocr-v6-rec-small_1-0-0"),
)
MODELS = (
    *MODELS_OF_A_SITE,
    Serves("token-classification", "rules_1-0-0"),
    Serves("token-classification", "pretend-tagger_1-0-0"),
)
"""What workers at the hub may serve."""


def write_certificates(folder: Path, names: Iterable[str]) -> None:
    """A CA (`ca.crt`) and one certificate and key for all servers (`tls.crt`, `tls.key`)."""
    folder.mkdir(parents=True)
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for number, certificate in enumerate(issued.cert_chain_pems):
        certificate.write_to_path(folder / "tls.crt", append=number > 0)


def identities() -> list[Identity]:
    """Each service, worker and site with the rights that `billow topology export permissions` gives it."""
    at_hub = all_identities(models=MODELS, domain=DOMAIN)
    return [*at_hub, *(worker(site, MODELS_OF_A_SITE, DOMAIN, site=site) for site in SITES)]


def users_conf() -> str:
    """The file that `hub.conf` includes, as it is exported; and a user of the tests, who may do everything."""
    exported = users_text(identities())
    head, users, rest = exported.partition("  users: [\n")
    return f"{head}{users}    {{ user: {json.dumps(BACKEND)}, password: {json.dumps(PASSWORD)} }}\n{rest}"


def passwords() -> dict[str, str]:
    """What nats-server takes from its environment; each user's is another."""
    return {each.password_variable: password_of(each.name) for each in identities()}


def password_of(user: str) -> str:
    return f"{PASSWORD}-of-{user}"


def environ_of(user: str) -> dict[str, str]:
    """What a process needs to be this user.

    Raises:
        KeyError: there is none of this name.
    """
    inboxes = {each.name: each.inbox_prefix for each in identities()}
    return {
        "BILLOW_NATS_USER": user,
        "BILLOW_NATS_PASSWORD": password_of(user),
        "BILLOW_NATS_INBOX_PREFIX": inboxes[user],
    }
