"""What a bill is worked out from: a topology, its prices and a load, as a TOML file.

Money is in USD, times of a bill are months of 730 hours, and GB are 1,073,741,824 bytes, as cloud bills count them.
"""

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from billow.runtime.errors import UsageError

Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, le=1)]

HOURS_A_MONTH = 730.0


class Values(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of the file: a name that is misspelt is an error, not a default."""


class Load(Values, frozen=True, kw_only=True):
    """What comes in."""

    documents_a_month: Count
    bytes_a_document: Amount
    """of the original"""
    retention_days: Amount
    """How long originals are kept."""
    history_days: Amount = 90.0
    """How long events are kept; `DOCUMENTS` keeps 90 days."""
    peak: Annotated[float, Meta(ge=1)] = 3.0
    """documents in the busiest hour / those of a mean hour"""


class Measured(Values, frozen=True, kw_only=True):
    """What one document costs in time and bytes; the defaults are the README's, on a 2-core machine by OpenVINO."""

    seconds_a_document: Positive = 0.826
    """wall time a document, many at once, all cores busy"""
    cores: Positive = 2.0
    """of the machine that this was measured on"""
    share_outside_models: Share = 0.119
    """of a document's time, what services take"""
    worker_cores: Positive = 2.0
    """cores of one set of workers: a detector, a recogniser and a layout model that take turns on them"""
    busy: Annotated[float, Meta(gt=0, le=1)] = 0.7
    """share of a core that is planned with; the rest is for spikes, the system and a node that is away"""
    link_bytes: Amount = 164_000.0
    """bytes a document to the workers; `link_bytes` of a record"""
    history_bytes: Amount = 25_000.0
    """bytes a document in streams and database, without the original: 17,500 in `DOCUMENTS`, the rest for the rows"""
    source: str = "README, Measured"

    @property
    def service_seconds(self) -> float:
        """core seconds a document in services"""
        return self.seconds_a_document * self.cores * self.share_outside_models

    @property
    def model_seconds(self) -> float:
        """core seconds a document in models"""
        return self.seconds_a_document * self.cores - self.service_seconds


class Price(Values, frozen=True, kw_only=True):
    """Base of what costs money: a price is worth what its date and source are."""

    as_of: date
    source: Name


class Cloud(Price, frozen=True, kw_only=True):
    """Cloud nodes of one kind."""

    name: Name
    count: Count
    cores: Positive
    price_an_hour: Amount
    models: bool = False
    """Whether workers run here too, beside the services."""


class Workstation(Values, frozen=True, kw_only=True):
    """Workstations of one kind; only workers run there."""

    name: Name
    count: Count
    cores: Amount
    """for models"""
    watts: Amount
    """at work"""
    idle_watts: Amount | None = None
    """as `watts` if not given"""
    hours_a_month: Annotated[float, Meta(gt=0, le=HOURS_A_MONTH)] = HOURS_A_MONTH
    """in which it is on"""
    gpus: Annotated[int, Meta(ge=0)] = 0
    documents_a_second_a_gpu: Amount = 0.0
    """As you measured it: `billow models check`, or a day of use. 0 plans without the GPUs."""
    price: Amount = 0.0
    """of one, USD; 0 for one that is there anyway"""
    years: Positive = 4.0
    """in which the price is written off"""


class Electricity(Price, frozen=True, kw_only=True):
    """What the workstations use."""

    price_a_kwh: Amount


class Storage(Price, frozen=True, kw_only=True):
    """Disks of the streams and the database."""

    price_a_gb: Amount
    """USD a GB and month"""
    copies: Annotated[int, Meta(ge=1, le=5)] = 3
    """of each stream"""
    included_gb: Amount = 0.0


class Transfer(Price, frozen=True, kw_only=True):
    """What the cloud asks for bytes that leave it, and for those that come in."""

    out_price_a_gb: Amount
    in_price_a_gb: Amount = 0.0
    out_included_gb: Amount = 0.0


class Fixed(Price, frozen=True, kw_only=True):
    """Anything else with a monthly price: a load balancer, a static IP, a database."""

    name: Name
    price_a_month: Amount


class Comparison(Values, frozen=True, kw_only=True):
    """Something else that does the job, for a price a month, or an hour."""

    name: Name
    as_of: date | None = None
    """None where nobody said when."""
    source: Name
    price_a_month: Amount | None = None
    price_an_hour: Amount | None = None
    count: Count = 1
    documents_a_month: Count | None = None
    """What it carried for that; the load of this file if not given."""
    note: str = ""

    @property
    def a_month(self) -> float:
        """USD"""
        return (self.price_a_month or (self.price_an_hour or 0.0) * HOURS_A_MONTH) * self.count


ORIGINAL = Comparison(
    name="the original: 3 cloud nodes, 2 workstations with 2 GPUs each",
    price_a_month=297.0,
    documents_a_month=1_440_000,
    source="as its makers published it",
    note="1.44 million images of 4 MB, 5,625 GB of transfer, a VPN and two static IPs",
)
CLOUD_GPU = Comparison(
    name="a cloud GPU instance: NVIDIA T4, 4 cores, on demand",
    price_an_hour=0.526,
    as_of=date(2025, 1, 15),
    source="AWS g4dn.xlarge, Linux, us-east-1, list price",
    note="the instance alone: no disk, no transfer, no second one for when it is away; its speed was not measured",
)


class Plan(Values, frozen=True, kw_only=True):
    """A topology, its prices and a load: the whole file."""

    name: Name
    load: Load
    cloud: tuple[Cloud, ...] = ()
    workstation: tuple[Workstation, ...] = ()
    electricity: Electricity | None = None
    storage: Storage
    transfer: Transfer
    fixed: tuple[Fixed, ...] = ()
    measured: Measured = Measured()
    comparison: tuple[Comparison, ...] = (ORIGINAL, CLOUD_GPU)


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file.

    Raises:
        UsageError: it cannot be read, or something in it cannot be; the message names the key.
    """
    try:
        plan = msgspec.toml.decode(path.read_bytes(), type=Plan)
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}. Copy one of deploy/cost/ and edit it.") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: {e}. deploy/cost/hybrid.toml shows all keys.") from e
    if not plan.cloud:
        raise UsageError(f"{path}: no [[cloud]] runs the services. Name a machine, if need be for a price of 0.")
    if plan.workstation and plan.electricity is None:
        raise UsageError(f"{path}: [[workstation]] needs [electricity] with price_a_kwh, as_of and source.")
    for each in plan.comparison:
        if (each.price_a_month is None) == (each.price_an_hour is None):
            raise UsageError(
                f"{path}: [[comparison]] {each.name!r} needs price_a_month or price_an_hour, and not both."
            )
    return plan
