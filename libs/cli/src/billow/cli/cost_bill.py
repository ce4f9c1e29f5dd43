"""The monthly bill of a topology, and whether it carries its load; pure."""

import math
from typing import Literal

import msgspec

from billow.cli.cost_values import HOURS_A_MONTH, Comparison, Plan, Workstation

GB = 1024**3
"""bytes"""
_DAYS_A_MONTH = HOURS_A_MONTH / 24
_SECONDS_A_MONTH = HOURS_A_MONTH * 3600

Verdict = Literal["carries", "waits at the peak", "cannot carry"]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the bill."""

    name: str
    amount: str
    """what is paid for, for people"""
    usd: float
    """a month"""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What the load asks for, and what there is. Documents a second, and cores at work."""

    verdict: Verdict
    reason: str
    """What is too small; empty where nothing is."""
    mean: float
    """documents/s"""
    peak: float
    """documents/s in the busiest hour"""
    carried: float
    """documents/s that the machines carry while all are on"""
    documents_a_second_a_core: float
    """as measured, services and models together"""
    service_cores: float
    """that the services need at the peak"""
    worker_sets: int
    """that the peak needs, each of `measured.worker_cores` cores, beside GPUs"""
    worker_sets_there: int
    """that the machines have room for"""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a topology costs in a month."""

    items: tuple[Item, ...]
    usd: float
    """a month"""
    usd_a_thousand: float
    """documents"""
    storage_gb: float
    """all copies"""
    in_gb: float
    out_gb: float
    capacity: Capacity


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Another way to do it."""

    name: str
    usd: float
    usd_a_thousand: float
    times: float
    """its price a thousand documents / ours; 0 where ours is free"""
    as_of: str
    source: str
    note: str


def bill(plan: Plan) -> Bill:
    """Work it all out."""
    load, measured = plan.load, plan.measured
    documents = load.documents_a_month
    capacity, work = _capacity(plan)
    kept = load.bytes_a_document * load.retention_days + measured.history_bytes * load.history_days
    storage_gb = documents * kept / _DAYS_A_MONTH * plan.storage.copies / GB
    in_gb = documents * load.bytes_a_document / GB
    # Workers in the cloud are reached without leaving it.
    out_gb = documents * measured.link_bytes / GB if plan.workstation else 0.0
    items = [
        *(
            Item(
                name=f"cloud {node.name}",
                amount=f"{node.count} x {HOURS_A_MONTH:g} h at {node.price_an_hour:g}",
                usd=node.count * HOURS_A_MONTH * node.price_an_hour,
            )
            for node in plan.cloud
        ),
        *(item for each in plan.workstation for item in _workstation(plan, each, work)),
        _metered("storage", storage_gb, plan.storage.included_gb, plan.storage.price_a_gb),
        _metered("transfer out", out_gb, plan.transfer.out_included_gb, plan.transfer.out_price_a_gb),
        _metered("transfer in", in_gb, 0.0, plan.transfer.in_price_a_gb),
        *(Item(name=each.name, amount="fixed", usd=each.price_a_month) for each in plan.fixed),
    ]
    usd = sum(item.usd for item in items)
    return Bill(
        items=tuple(items),
        usd=usd,
        usd_a_thousand=usd * 1000 / documents,
        storage_gb=storage_gb,
        in_gb=in_gb,
        out_gb=out_gb,
        capacity=capacity,
    )


def compare(plan: Plan, ours: Bill) -> list[Compared]:
    """The other ways of the file, a thousand documents each by what it carried."""
    return [_compared(each, plan.load.documents_a_month, ours) for each in plan.comparison]


def _compared(each: Comparison, documents: int, ours: Bill) -> Compared:
    thousand = each.a_month * 1000 / (each.documents_a_month or documents)
    return Compared(
        name=each.name if each.count == 1 else f"{each.count} x {each.name}",
        usd=each.a_month,
        usd_a_thousand=thousand,
        times=thousand / ours.usd_a_thousand if ours.usd_a_thousand else 0.0,
        as_of=each.as_of.isoformat() if each.as_of else "undated",
        source=each.source,
        note=each.note,
    )


def _metered(name: str, gb: float, included: float, price: float) -> Item:
    amount = f"{gb:,.1f} GB at {price:g}" + (f", {included:,.0f} GB included" if included else "")
    return Item(name=name, amount=amount, usd=max(0.0, gb - included) * price)


def _workstation(plan: Plan, each: Workstation, work: float) -> list[Item]:
    """Electricity and, where it had to be bought, a month's part of the price; `work` is the share of time at work."""
    idle = each.watts if each.idle_watts is None else each.idle_watts
    kwh = each.count * each.hours_a_month * (idle + (each.watts - idle) * work) / 1000
    price = plan.electricity.price_a_kwh if plan.electricity else 0.0
    items = [Item(name=f"electricity {each.name}", amount=f"{kwh:,.1f} kWh at {price:g}", usd=kwh * price)]
    if each.price:
        bought = each.count * each.price / (each.years * 12)
        items.append(Item(name=f"hardware {each.name}", amount=f"{each.count} over {each.years:g} years", usd=bought))
    return items


def _capacity(plan: Plan) -> tuple[Capacity, float]:
    """What is needed and there, and the share of their time that the workstations work."""
    load, measured = plan.load, plan.measured
    mean = load.documents_a_month / _SECONDS_A_MONTH
    peak = mean * load.peak
    always, at_peak = _Machines(plan, hours=True), _Machines(plan, hours=False)
    sets_needed = math.ceil(
        max(0.0, peak - at_peak.gpu) * measured.model_seconds / measured.busy / measured.worker_cores
    )
    verdict: Verdict = "carries"
    reason = ""
    if mean > always.carried:
        verdict, reason = "cannot carry", f"{always.limit}: {always.carried:.3f} of {mean:.3f} documents/s on average"
    elif peak > at_peak.carried:
        verdict = "waits at the peak"
        reason = f"{at_peak.limit}: {at_peak.carried:.3f} of {peak:.3f} documents/s in the busiest hour"
    capacity = Capacity(
        verdict=verdict,
        reason=reason,
        mean=mean,
        peak=peak,
        carried=at_peak.carried,
        documents_a_second_a_core=1 / (measured.seconds_a_document * measured.cores),
        service_cores=peak * measured.service_seconds / measured.busy,
        worker_sets=sets_needed,
        worker_sets_there=at_peak.worker_sets,
    )
    at_work = min(1.0, mean / always.models) if always.models else 0.0
    return capacity, at_work


class _Machines:
    """How many documents a second they carry: on average over the month with `hours`, else while all are on."""

    def __init__(self, plan: Plan, *, hours: bool) -> None:
        measured = plan.measured
        service, model = measured.service_seconds, measured.model_seconds
        shares = [each.hours_a_month / HOURS_A_MONTH if hours else 1.0 for each in plan.workstation]
        only_services = sum(node.count * node.cores for node in plan.cloud if not node.models) * measured.busy
        both = sum(node.count * node.cores for node in plan.cloud if node.models) * measured.busy
        stations = list(zip(plan.workstation, shares, strict=True))
        only_models = sum(each.count * each.cores * share for each, share in stations) * measured.busy
        self.gpu = sum(each.count * each.gpus * each.documents_a_second_a_gpu * share for each, share in stations)
        services = _per_second(only_services + both, service)
        self.models = _per_second(only_models + both, model) + self.gpu
        # Machines that do both give each core once.
        together = (only_services + only_models + both + self.gpu * model) / (service + model)
        self.carried = min(services, self.models, together)
        self.limit = {services: "the services have too few cores", self.models: "too few workers"}.get(
            self.carried, "services and workers together have too few cores"
        )
        on_cloud = sum(node.count * _sets(node.cores, measured.worker_cores) for node in plan.cloud if node.models)
        self.worker_sets = on_cloud + sum(
            each.count * _sets(each.cores, measured.worker_cores) for each in plan.workstation
        )


def _per_second(cores: float, seconds: float) -> float:
    return cores / seconds if seconds else math.inf


def _sets(cores: float, a_set: float) -> int:
    return int(cores // a_set)
