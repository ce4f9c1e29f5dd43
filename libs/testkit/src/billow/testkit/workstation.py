"""What a worker behind a leaf node needs to be allowed at the hub, as the user of the leaf's connection."""

from typing import Any, get_args

import msgspec

from billow.bus.topology import LANES, MODELS_BUCKET, RESULTS, inference_consumer
from billow.schemas.labels import Task

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
    def publish(self) -> tuple[str, ...]:
        """Subjects that it may send to the hub."""
        consumers = [inference_consumer(self.task, self.model, lane) for lane in LANES]
        asked = [
            *(f"CONSUMER.CREATE.{spec.stream}.{spec.durable}.{spec.filters[0]}" for spec in consumers),
            *(f"CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}" for spec in consumers),
            # The hub's time, to judge deadlines by.
            *(f"CONSUMER.INFO.{spec.stream}.{spec.durable}" for spec in consumers),
            # What it or another worker has answered or tried before, looked up when work comes again.
            *(f"DIRECT.GET.{RESULTS.name}.results.*.{kind}.*" for kind in (self.task, "trial")),
        ]
        announcement = f"$KV.{MODELS_BUCKET}.{self.model}.*"
        return (
            *(f"{prefix}.{subject}" for prefix in (f"$JS.{DOMAIN}.API", "$JS.API") for subject in asked),
            # The hub takes the prefix of its domain off, and asks once more.
            f"$JS.{DOMAIN}.API.{announcement}",
            announcement,
            *(f"$JS.ACK.{spec.stream}.{spec.durable}.>" for spec in consumers),
            # Not narrower than what the streams listen to: the hub tells a leaf of a subscription only if the leaf may
            # publish all of it. `deny` takes the rest away.
            "results.*.*.*",
            "deadletters.*.*.*",
            # Who else serves this model?
            f"$SRV.INFO.{self.model}",
            # Answers to who asks `$SRV`: over a leaf the server does not heed `allow_responses`.
            "_INBOX.>",
        )

    @property
    def deny_publish(self) -> tuple[str, ...]:
        """Of these, what is not its own."""
        others = [task for task in get_args(Task) if task != self.task]
        return (
            *(f"results.*.{task}.*" for task in others),
            *(f"deadletters.*.{service}.*" for service in ("ocr", "layout", "receipt")),
            *(f"deadletters.*.worker.{task}" for task in others),
        )

    @property
    def subscribe(self) -> tuple[str, ...]:
        """Subjects that it may receive from the hub."""
        verbs = ("PING", "INFO", "STATS")
        services = [f"$SRV.{verb}{rest}" for verb in verbs for rest in ("", f".{self.model}", f".{self.model}.*")]
        return (f"{self.inbox_prefix}.>", *services, "cancelled.*.*")

    def permissions(self) -> dict[str, Any]:
        """As the server's configuration has it."""
        return {
            "publish": {"allow": list(self.publish), "deny": list(self.deny_publish)},
            "subscribe": {"allow": list(self.subscribe)},
        }
