"""`billow models route`: which model does a task, changed while everything runs."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from rich.console import Console
from rich.text import Text

from billow.bus.presence import present_workers
from billow.bus.routes import TASKS, RouteBook
from billow.bus.shadows import comparisons
from billow.cli.commands import route_view
from billow.cli.hub import connect, who
from billow.cli.names import Names
from billow.runtime.errors import UsageError
from billow.schemas.labels import Kind, Task
from billow.schemas.presence import ModelPresence
from billow.schemas.routing import Route, Rule, check_route

_RULE_KEYS = ("tenant", "kind", "language", "model")


class Part(StrEnum):
    """What `--clear` takes away."""

    weights = "weights"
    shadows = "shadows"
    fallback = "fallback"
    rules = "rules"
    route = "route"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; what is left empty stays as it is. Models by name or token."""

    default: str = ""
    weights: tuple[str, ...] = ()
    """`MODEL=SHARE`"""
    shadows: tuple[str, ...] = ()
    fallback: str = ""
    fallback_after: float | None = None
    """seconds"""
    rules: tuple[str, ...] = ()
    """`language=vi model=MODEL`"""
    clear: tuple[Part, ...] = ()
    note: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return msgspec.structs.replace(self, note="") == Change()


def changed(route: Route | None, change: Change, task: Task, names: Names) -> Route:
    """The route after the change; pure but for the look into the folders of models.

    Raises:
        UsageError: it cannot be read, names a model that nobody knows, or has no default.
        ValueError: the route would make no sense.
    """
    gone = set(change.clear)
    if Part.route in gone:
        route = None
    default = names.token(change.default) if change.default else route.default if route else ""
    if not default:
        raise UsageError(f"There is no route for {task} yet; say which model is its --default.")
    old = route or Route(task=task, default=default, changed_at=datetime.now(UTC))
    # A canary or shadow that becomes the default is none any more.
    weights = {} if Part.weights in gone else {model: share for model, share in old.weights.items() if model != default}
    weights |= {names.token(name): share for name, share in map(_share, change.weights)}
    weights = {model: share for model, share in weights.items() if share != 0}
    rules = () if Part.rules in gone else old.rules
    rules = (*rules, *(_rule(text, names) for text in change.rules))
    shadows = () if Part.shadows in gone else tuple(model for model in old.shadows if model != default)
    useless = old.fallback == default and not weights and not rules
    fallback = None if Part.fallback in gone or useless else old.fallback
    new = Route(
        task=task,
        default=default,
        weights=weights,
        shadows=tuple(dict.fromkeys((*shadows, *(names.token(name) for name in change.shadows)))),
        fallback=names.token(change.fallback) if change.fallback else fallback,
        fallback_after=old.fallback_after if change.fallback_after is None else change.fallback_after,
        rules=rules,
        changed_at=datetime.now(UTC),
        changed_by=who(),
        note=change.note,
    )
    check_route(new)
    return new


async def run(task: str | None, change: Change, out: Console, err: Console) -> None:
    """Show routes, or change one and show it.

    Raises:
        UsageError, ValueError: what is asked for cannot be; nothing was changed.
        PermanentError: somebody else changed the route at the same time; nothing was changed.
        StackUnreachableError: NATS does not answer.
    """
    wanted = None if task is None else _task(task)
    async with await connect("route") as bus:
        book, workers = RouteBook(bus), await present_workers(bus)
        await book.open()
        if change.is_empty:
            for each in TASKS if wanted is None else (wanted,):
                out.print(route_view.panel(each, await book.get(each), workers))
            return
        if wanted is None:
            raise UsageError(f"Say which task's route is to be changed: {', '.join(TASKS)}.")
        before = await book.get(wanted)
        expected, route = (before.version, before.route) if before else (0, None)
        if change.clear == (Part.route,) and msgspec.structs.replace(change, clear=(), note="").is_empty:
            await book.remove(wanted, expected=expected, by=who(), note=change.note)
        else:
            await book.put(changed(route, change, wanted, Names(wanted, workers)), expected=expected)
        await _show(book, wanted, workers, out, err)


async def roll_back(task: str | None, version: int | None, note: str, out: Console, err: Console) -> None:
    """Make an older version count again; the one before the present one unless `version` is given. Raises as `run`."""
    wanted = _task(task)
    async with await connect("route") as bus:
        book, workers = RouteBook(bus), await present_workers(bus)
        await book.open()
        await book.roll_back(wanted, version, by=who(), note=note)
        await _show(book, wanted, workers, out, err)


async def show_history(task: str | None, out: Console) -> None:
    """Print all versions that are kept, the newest first. Raises as `run`."""
    wanted = _task(task)
    async with await connect("route") as bus:
        out.print(route_view.history(wanted, await RouteBook(bus).history(wanted)))


async def compare(task: str | None, out: Console) -> None:
    """Print how far shadows agree with the models that were used. Raises as `run`."""
    wanted = TASKS if task is None else (_task(task),)
    async with await connect("route") as bus:
        found = [comparison for each in wanted async for comparison in comparisons(bus, each)]
    out.print(route_view.comparison(route_view.summaries(found)))


async def _show(book: RouteBook, task: Task, workers: Sequence[ModelPresence], out: Console, err: Console) -> None:
    now = await book.get(task)
    out.print(route_view.panel(task, now, workers))
    served = {worker.model for worker in workers}
    for model in now.route.models() if now is not None and now.route is not None else ():
        if model not in served:
            err.print(Text(f"Nobody serves {model} now. Start it with `billow worker {model}`.", style="yellow"))


def _task(name: str | None) -> Task:
    for task in TASKS:
        if task == name:
            return task
    given = "Say which task" if name is None else f"There is no task {name!r}"
    raise UsageError(f"{given}: {', '.join(TASKS)}.")


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.rpartition("=")
    try:
        if equals:
            return name, float(share)
    except ValueError:
        pass
    raise UsageError(f"--weight {text}: say MODEL=SHARE with a share between 0 and 1, e.g. {name or text}=0.1.")


def _rule(text: str, names: Names) -> Rule:
    parts = {key: value for key, _, value in (part.partition("=") for part in shlex.split(text))}
    if unknown := [key for key in parts if key not in _RULE_KEYS]:
        raise UsageError(f"--rule '{text}': {unknown[0]!r} is none of {', '.join(_RULE_KEYS)}.")
    if not parts.get("model"):
        raise UsageError(f"--rule '{text}': say for which model, e.g. 'language=vi model=NAME'.")
    try:
        return msgspec.convert({**parts, "model": names.token(parts["model"])}, Rule)
    except msgspec.ValidationError as e:
        raise UsageError(f"--rule '{text}': {e}. Kinds are {', '.join(Kind.__args__)}.") from e
