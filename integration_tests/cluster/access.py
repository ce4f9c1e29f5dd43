"""Certificates and users of a test cluster."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trustme

from billow.testkit.workstation import Workstation

BACKEND = "backend"
PASSWORD = "secret-of-a-test"
MODELS_OF_A_SITE = (
    ("text-detection", "pretend-det_1-0-0"),
    ("text-recognition", "pretend-rec_1-0-0"),
    ("text-detection", "ppocr-v6-det-small_1-0-0"),
    ("text-recognition", "ppocr-v6-rec-small_1-0-0"),
)
"""Task and token of what workers at a site may serve."""


def write_certificates(folder: Path, names: Iterable[str]) -> None:
    """A CA (`ca.crt`) and one certificate and key for all servers (`tls.crt`, `tls.key`)."""
    folder.mkdir(parents=True)
    authority = trustme.CA()
    issued = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for number, certificate in enumerate(issued.cert_chain_pems):
        certificate.write_to_path(folder / "tls.crt", append=number > 0)


def users_conf(sites: Sequence[str]) -> str:
    """The file that `hub.conf` includes: a backend that may do everything, and each site with its few rights."""
    users: list[dict[str, Any]] = [{"user": BACKEND, "password": PASSWORD}]
    users += [{"user": site, "password": PASSWORD, "permissions": site_permissions(site)} for site in sites]
    return json.dumps({"authorization": {"timeout": 10, "users": users}}, indent=1)[1:-1]


def site_permissions(site: str) -> Mapping[str, Any]:
    """What several workers need together: all that one of them may send, less what none of them may."""
    each = [Workstation(task=task, model=model, site=site) for task, model in MODELS_OF_A_SITE]
    allowed = {subject for one in each for subject in one.publish}
    denied = {subject for subject in each[0].deny_publish if all(subject in one.deny_publish for one in each)}
    return {
        "publish": {"allow": sorted(allowed), "deny": sorted(denied)},
        "subscribe": {"allow": sorted({subject for one in each for subject in one.subscribe})},
    }
