"""Routes, their history and what shadows made of the work, as people read them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from billow.bus.routes import RouteVersion
from billow.schemas.labels import Task
from billow.schemas.presence import ModelPresence
from billow.schemas.routing import Comparison, Route, Rule

_SETTINGS: dict[Task, str] = {
    "text-detection": "BILLOW_DETECTION_MODEL of the OCR service",
    "text-recognition": "BILLOW_RECOGNITION_MODEL of the OCR service",
    "token-classification": "BILLOW_LAYOUT_MODEL of the layout service",
}


def panel(task: Task, version: RouteVersion | None, workers: Sequence[ModelPresence]) -> Group:
    """One task's route, and how many workers serve each of its models now."""
    head = Text(task, style="bold")
    if version is not None:
        head.append(f"  {_about(version)}", style="dim")
    if version is None or version.route is None:
        return Group(head, Text(f"  no route: {_SETTINGS[task]} counts"), Text())
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_column()
    for part, model, what in _parts(version.route):
        served = sum(worker.model == model for worker in workers)
        who = f"{served} worker{'' if served == 1 else 's'}" if served else Text("nobody serves it", style="yellow")
        grid.add_row(f"  {part}", model, what, who)
    return Group(head, grid, Text())


def history(task: Task, versions: Sequence[RouteVersion]) -> Table:
    """All versions that are kept, one a row."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("version", "since", "by", "route", "note"):
        table.add_column(column, justify="right" if column == "version" else "left")
    for version in versions:
        parts = _parts(version.route) if version.route else iter(())
        route = "\n".join(" ".join(filter(None, part)) for part in parts) or "no route"
        row = (str(version.version), _when(version.changed_at), version.changed_by, route, version.note)
        table.add_row(*(Text(cell) for cell in row))
    if not versions:
        table.caption = f"{task} never had a route; {_SETTINGS[task]} counts."
    return table


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How one shadow compares to one model."""

    task: Task
    model: str
    shadow: str
    documents: int
    requests: int
    failed: int
    """Requests that the shadow answered with an error; they are in no other figure but `requests`."""
    agreement: float | None
    """0..1, mean of the requests"""
    agreement_p5: float | None
    """0..1; one request in twenty agrees less"""
    similarity: float | None
    """0..1, mean; of texts only"""
    speed: float | None
    """Model time of the model over that of the shadow; above 1 the shadow is the faster one."""


def summaries(comparisons: Iterable[Comparison]) -> list[Summary]:
    """One a pair of model and shadow, in the order of task and names."""
    pairs: dict[tuple[Task, str, str], list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        pairs[comparison.task, comparison.model, comparison.shadow].append(comparison)
    return [_summary(pair, found) for pair, found in sorted(pairs.items())]


def comparison(found: Sequence[Summary]) -> Table:
    """A row for each pair."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("model", "shadow", "documents", "requests", "failed", "agreement", "p5", "likeness", "speed"):
        left = column in {"model", "shadow"}
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for row in found:
        shares = (row.agreement, row.agreement_p5, row.similarity)
        table.add_row(
            row.model,
            row.shadow,
            f"{row.documents:,}",
            f"{row.requests:,}",
            f"{row.failed:,}",
            *("" if share is None else f"{share:.1%}" for share in shares),
            "" if row.speed is None else f"{row.speed:.2f} x",
        )
    if not found:
        table.caption = "Nothing was compared within 30 days. Name a model with --shadow, and see that it is served."
    return table


def _summary(pair: tuple[Task, str, str], found: Sequence[Comparison]) -> Summary:
    good = [each for each in found if each.error is None]
    shares = sorted(each.agreement for each in good if each.agreement is not None)
    likeness = [each.similarity for each in good if each.similarity is not None]
    spent, shadow_spent = sum(each.run_ms for each in good), sum(each.shadow_run_ms for each in good)
    return Summary(
        task=pair[0],
        model=pair[1],
        shadow=pair[2],
        documents=len({(each.tenant, each.document_id) for each in found}),
        requests=len(found),
        failed=len(found) - len(good),
        agreement=sum(shares) / len(shares) if shares else None,
        agreement_p5=shares[int(0.05 * (len(shares) - 1))] if shares else None,
        similarity=sum(likeness) / len(likeness) if likeness else None,
        speed=spent / shadow_spent if shadow_spent else None,
    )


def _parts(route: Route) -> Iterator[tuple[str, str, str]]:
    """What it is, the model, and what more there is to say."""
    for rule in route.rules:
        yield "rule", rule.model, _condition(rule)
    for model, share in route.weights.items():
        yield "weight", model, f"{share:.4g}"
    rest = 1 - sum(route.weights.values())
    yield "default", route.default, f"{max(0.0, rest):.4g}" if route.weights else ""
    if route.fallback:
        yield "fallback", route.fallback, f"after {route.fallback_after:g} s"
    for shadow in route.shadows:
        yield "shadow", shadow, ""


def _condition(rule: Rule) -> str:
    wanted = (("tenant", rule.tenant), ("kind", rule.kind), ("language", rule.language))
    return " ".join(f"{key}={value}" for key, value in wanted if value is not None)


def _about(version: RouteVersion) -> str:
    by = f" by {version.changed_by}" if version.changed_by else ""
    note = f": {version.note}" if version.note else ""
    return f"version {version.version}, since {_when(version.changed_at)}{by}{note}"


def _when(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""
