"""Who may do what on NATS: the least that each service, client, worker and operator needs, from the declaration.

Services may make nothing but their own consumers, so an operator provides the streams (`billow topology apply`). The
client is a trusted backend: it may write for its tenant only, and read all of `DOCUMENTS`, which NATS cannot cut by
tenant for one that seeks a revision. Between tenants who do not trust each other stands a backend.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

from billow.bus.exports.rights import Collected, Identity, Rights
from billow.bus.topology import (
    ADMISSION,
    BUCKETS,
    CONSUMERS,
    DEADLETTERS,
    DOCUMENTS,
    ERASURES,
    EXCHANGES,
    FLOWS,
    INFERENCE,
    LANES,
    MODELS,
    REPLAYS,
    RESULTS,
    ROUTES,
    RUNS,
    SHADOWS,
    STREAMS,
    TENANTS,
    WAITS,
    ConsumerSpec,
    images_of,
    inference_consumer,
)
from billow.schemas.events import EVENT_NAMES, Erased
from billow.schemas.labels import Task

TASKS: tuple[Task, ...] = get_args(Task)
ASKS: dict[str, tuple[Task, ...]] = {
    "ocr": ("text-detection", "text-recognition"),
    "layout": ("token-classification",),
    "receipt": (),
}
"""Service -> what it asks models to do."""


class Serves(NamedTuple):
    """A model that a worker serves."""

    task: str
    model: str
    """token: name and version"""


def identities(
    *, tenants: Sequence[str] = ("default",), models: Sequence[Serves] = (), domain: str = ""
) -> list[Identity]:
    """One user a service, a client a tenant, a worker a model, the operator, and whoever makes backups."""
    return [
        operator(domain),
        backup(domain),
        *(client(tenant, domain) for tenant in tenants),
        *(service(name, domain) for name in ASKS),
        *(worker(f"worker-{each.model}", (each,), domain) for each in models),
    ]


def service(name: str, domain: str = "") -> Identity:
    """`ocr`, `layout` or `receipt`: its own consumers and events, work for its models, and reading."""
    inbox = f"_INBOX.{name}"
    may = _looking(Collected(domain, inbox))
    own = [spec for spec in CONSUMERS if spec.service == name]
    for spec in own:
        _consuming(may, spec)
        may.put(f"{WAITS.name}.{spec.stream}.{spec.durable}.>")
    may.publish(*_events_of(name), f"deadletters.*.{name}.*")
    # What was stated before, of which document, which run.
    may.api(*(f"DIRECT.GET.{stream.name}{rest}" for stream in (DOCUMENTS, RUNS) for rest in ("", ".>")))
    may.api(*(f"STREAM.MSG.GET.{bucket.stream}" for bucket in (WAITS, MODELS, ROUTES, TENANTS)))
    if ASKS[name]:
        _asking(may, ASKS[name])
    if name == "ocr":
        _reading_originals(may)
    if name == "receipt":
        _erasing(may, [spec.durable for spec in own])
    may.hear(*_heard_by(name))
    return Identity(name=name, description=f"Processes of the {name} service.", inbox_prefix=inbox, rights=may.rights())


def client(tenant: str, domain: str = "") -> Identity:
    """A backend of one tenant: hands in, takes back, waits, and reads."""
    name = f"client-{tenant}"
    inbox = f"_INBOX.{name}"
    may = _looking(Collected(domain, inbox))
    images = images_of(tenant)
    may.publish(
        *(subject.replace(".*.", f".{tenant}.", 1) for subject in _events_of("client")), f"cancelled.{tenant}.*"
    )
    may.publish(f"$O.{images.name}.>")
    may.api(*(f"STREAM.{verb}.{images.stream}" for verb in ("INFO", "CREATE", "MSG.GET", "PURGE")))
    may.api(*(f"DIRECT.GET.{stream}{rest}" for stream in (images.stream, DOCUMENTS.name) for rest in ("", ".>")))
    may.api(*(f"STREAM.MSG.GET.{bucket.stream}" for bucket in (MODELS, TENANTS, ADMISSION)))
    # Who serves, and how much waits.
    may.api(f"CONSUMER.INFO.{INFERENCE.name}.*")
    may.api(
        f"CONSUMER.CREATE.{MODELS.stream}.>", f"CONSUMER.CREATE.{MODELS.stream}", f"CONSUMER.INFO.{MODELS.stream}.*"
    )
    may.api(f"CONSUMER.DELETE.{MODELS.stream}.*").publish(f"$JS.FC.{MODELS.stream}.>")
    # Its own consumers of events: any name but those of the services.
    may.api(
        f"CONSUMER.CREATE.{DOCUMENTS.name}.*",
        f"CONSUMER.CREATE.{DOCUMENTS.name}.*.documents.{tenant}.*.*",
        *(f"CONSUMER.{verb}.{DOCUMENTS.name}.*" for verb in ("INFO", "MSG.NEXT", "DELETE")),
    )
    may.publish(f"$JS.ACK.{DOCUMENTS.name}.>")
    for spec in (spec for spec in CONSUMERS if spec.stream == DOCUMENTS.name):
        _not_consuming(may, spec)
    # How much of its rate it has used.
    may.put(f"{ADMISSION.name}.{tenant}")
    may.hear(f"documents.{tenant}.*.*", *_heard_by("client"))
    return Identity(name=name, description=f"Backends of tenant {tenant}.", inbox_prefix=inbox, rights=may.rights())


def operator(domain: str = "") -> Identity:
    """Whoever runs `billow topology`, `models route`, `replay`, `deadletters`, `erase`, `rebuild` and `restore`."""
    inbox = "_INBOX.operator"
    may = Collected(domain, inbox).api(">")
    may.publish(*_events_of("operator"))
    # What died is sent again where it died.
    may.publish(*(f"documents.*.{EVENT_NAMES[flow.event]}.*" for flow in FLOWS if flow.consumed_by))
    may.publish(*(f"runs.*.*.{EVENT_NAMES[flow.event]}.*" for flow in FLOWS if flow.consumed_by))
    may.publish(*INFERENCE.subjects, "cancelled.*.*", "$JS.ACK.>", "$JS.FC.>", "$SRV.>", "$O.>", "$JS.SNAPSHOT.>")
    may.put(*(f"{bucket.name}.>" for bucket in BUCKETS))
    may.hear(*(subject for stream in STREAMS for subject in stream.subjects), "cancelled.*.*")
    may.hear(*(f"{bucket.said_again}.*" for bucket in BUCKETS if bucket.said_again))
    return Identity(
        name="operator",
        description="Operators: streams, routes, tenants, replays, dead letters, erasures.",
        inbox_prefix=inbox,
        rights=may.rights(),
    )


def backup(domain: str = "") -> Identity:
    """Whoever runs `billow backup`: reads every stream whole, and changes nothing. Restoring is the operator's."""
    inbox = "_INBOX.backup"
    may = Collected(domain, inbox).api("STREAM.LIST", "STREAM.SNAPSHOT.*", "CONSUMER.LIST.*")
    # Each part of a snapshot is acknowledged.
    may.publish("$JS.SNAPSHOT.ACK.>")
    return Identity(
        name="backup",
        description="Whoever takes backups; it can read everything.",
        inbox_prefix=inbox,
        rights=may.rights(),
    )


def worker(name: str, serves: Sequence[Serves], domain: str = "", *, site: str = "") -> Identity:
    """A worker of some models, or all workers of a site, as the user of its leaf node."""
    inbox = f"_INBOX.{site or name}"
    where = f"The leaf node of site {site}" if site else "Workers"
    return Identity(
        name=name,
        description=f"{where}: {', '.join(each.model for each in serves)}.",
        inbox_prefix=inbox,
        rights=worker_rights(serves, domain, inbox),
    )


def worker_rights(serves: Sequence[Serves], domain: str, inbox_prefix: str) -> Rights:
    """Serve these models, and nothing else; enough behind a leaf node too."""
    may = Collected(domain, inbox_prefix)
    consumers = [inference_consumer(each.task, each.model, lane) for each in serves for lane in LANES]
    tasks = {each.task for each in serves}
    for spec in consumers:
        # Its description too: the server's time stands in it, to judge deadlines by.
        _consuming(may, spec).api(f"CONSUMER.INFO.{spec.stream}.{spec.durable}")
    # What it or another worker has answered or tried before, looked up when work comes again.
    may.api(*(f"DIRECT.GET.{RESULTS.name}.results.*.{kind}.*" for kind in (*sorted(tasks), "trial")))
    may.put(*(f"{MODELS.name}.{each.model}.*" for each in serves))
    # Not narrower than what the streams listen to: a hub tells a leaf of a subscription only if the leaf may publish
    # all of it. What is denied takes the rest away.
    may.publish(*RESULTS.subjects, *DEADLETTERS.subjects)
    others = [task for task in TASKS if task not in tasks]
    may.no_publish(*(f"results.*.{task}.*" for task in others))
    may.no_publish(*(f"deadletters.*.{name}.*" for name in ASKS), *(f"deadletters.*.worker.{task}" for task in others))
    # Who else serves these models?
    may.publish(*(f"$SRV.INFO.{each.model}" for each in serves))
    # Answers to who asks `$SRV`: over a leaf the server does not heed `allow_responses`.
    may.publish("_INBOX.>")
    verbs = ("PING", "INFO", "STATS")
    for each in serves:
        may.hear(*(f"$SRV.{verb}{rest}" for verb in verbs for rest in ("", f".{each.model}", f".{each.model}.*")))
    may.hear(*_heard_by("worker"))
    return may.rights()


def _looking(may: Collected) -> Collected:
    """Whether all that is declared is there, which every process looks at when it starts."""
    may.api(*(f"STREAM.INFO.{spec.name}" for spec in STREAMS))
    may.api(*(f"STREAM.INFO.{spec.stream}" for spec in BUCKETS))
    return may.api(*(f"CONSUMER.INFO.{spec.stream}.{spec.durable}" for spec in CONSUMERS))


def _consuming(may: Collected, spec: ConsumerSpec) -> Collected:
    """Pull from a consumer, and make it again when it is gone."""
    narrow = f".{spec.filters[0]}" if len(spec.filters) == 1 else ""
    may.api(f"CONSUMER.CREATE.{spec.stream}.{spec.durable}{narrow}", f"CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}")
    return may.publish(f"$JS.ACK.{spec.stream}.{spec.durable}.>")


def _asking(may: Collected, tasks: Sequence[str]) -> None:
    """Send work to models, wait for the answer, take work back."""
    may.publish(
        *(f"inference.{task}.*.*.*" for task in tasks), *(f"{SHADOWS.name.lower()}.*.{task}.*" for task in tasks)
    )
    may.hear(*(f"results.*.{task}.*" for task in tasks))
    may.api(*(f"DIRECT.GET.{RESULTS.name}.results.*.{task}.*" for task in tasks))
    may.api(f"CONSUMER.INFO.{INFERENCE.name}.*", f"DIRECT.GET.{INFERENCE.name}", f"STREAM.MSG.DELETE.{INFERENCE.name}")


def _reading_originals(may: Collected) -> None:
    """Of all tenants: a wildcard stands for a whole stream's name, so the streams that are no bucket of theirs go."""
    may.api("DIRECT.GET.*", "DIRECT.GET.*.$O.>", "STREAM.MSG.GET.*")
    may.no_api(*(f"DIRECT.GET.{spec.name}" for spec in (RESULTS, DEADLETTERS, SHADOWS)))
    may.no_api(*(f"STREAM.MSG.GET.{spec.name}" for spec in STREAMS))


def _erasing(may: Collected, own: Sequence[str]) -> None:
    """Carry out erasures: find and remove what a document left in any stream or bucket, and report it."""
    may.api("STREAM.LIST", *(f"STREAM.{verb}.*" for verb in ("INFO", "PURGE", "MSG.GET", "MSG.DELETE")))
    may.api(
        "DIRECT.GET.*",
        "DIRECT.GET.*.>",
        "CONSUMER.CREATE.*",
        *(f"CONSUMER.{verb}.*.>" for verb in ("CREATE", "INFO", "MSG.NEXT", "DELETE")),
    )
    may.publish("$O.>", "cancelled.*.*").put(f"{REPLAYS.name}.>", f"{ERASURES.name}.>")
    # Never another service's place in a stream.
    for spec in (spec for spec in CONSUMERS if spec.durable not in own):
        _not_consuming(may, spec)
    may.hear(f"documents.*.{EVENT_NAMES[Erased]}.*")


def _not_consuming(may: Collected, spec: ConsumerSpec) -> None:
    place = f"{spec.stream}.{spec.durable}"
    may.no_api(f"CONSUMER.CREATE.{place}", f"CONSUMER.CREATE.{place}.>")
    may.no_api(f"CONSUMER.MSG.NEXT.{place}", f"CONSUMER.DELETE.{place}").no_publish(f"$JS.ACK.{place}.>")


def _events_of(name: str) -> list[str]:
    """Subjects of the events that it states."""
    return [
        *(f"documents.*.{EVENT_NAMES[flow.event]}.*" for flow in FLOWS if name in flow.published_by),
        *(f"runs.*.*.{EVENT_NAMES[flow.event]}.*" for flow in FLOWS if name in flow.in_runs_by),
    ]


def _heard_by(name: str) -> list[str]:
    """Core subjects, kept by no stream, that it listens to."""
    heard = [each.address for each in EXCHANGES if name in each.received_by and each.name in _CORE]
    return [".".join("*" if token.startswith("{") else token for token in address.split(".")) for address in heard]


_CORE = {"cancellation", "route", "policy"}
