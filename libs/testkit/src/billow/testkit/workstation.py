"""A workstation behind a leaf node, and what it is allowed at the hub, as the user of the leaf's connection."""

from typing import Any

import msgspec

from billow.bus.exports.permissions import Serves, worker_rights
from billow.bus.exports.rights import Rights

DOMAIN = "hub"
"""JetStream domain of the hub"""


class Workstation(msgspec.Struct, frozen=True, kw_only=True):
    """What the leaf's user may do on the hub: serve one model, and nothing else."""

    task: str = "token-classification"
    model: str = "toy_1-0-0"
    """token: name and version"""
    site: str = "desk"
    """Its inboxes begin with `_INBOX.<site>`."""

    @property
    def inbox_prefix(self) -> str:
        return f"_INBOX.{self.site}"

    @property
    def rights(self) -> Rights:
        """As the export has them."""
        return worker_rights((Serves(self.task, self.model),), DOMAIN, self.inbox_prefix)

    @property
    def publish(self) -> tuple[str, ...]:
        """Subjects that it may send to the hub."""
        return self.rights.publish

    @property
    def deny_publish(self) -> tuple[str, ...]:
        """Of these, what is not its own."""
        return self.rights.deny_publish

    @property
    def subscribe(self) -> tuple[str, ...]:
        """Subjects that it may receive from the hub."""
        return self.rights.subscribe

    def permissions(self) -> dict[str, Any]:
        """As the server's configuration has it."""
        return self.rights.permissions()
