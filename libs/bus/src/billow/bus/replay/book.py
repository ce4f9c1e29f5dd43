"""What is kept about runs, in the bucket REPLAYS: `<run_id>.spec`, `.state`, `.order`, `.report`, `.promotion`."""

import contextlib
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import msgspec

from billow.bus.buckets import WrongRevisionError, last, open_bucket, put, revisions
from billow.bus.connection import Bus
from billow.bus.topology import REPLAYS, REPLAYS_BUCKET
from billow.runtime.errors import UsageError
from billow.schemas import codec
from billow.schemas.replay import Order, PromotionState, ReplayOrder, ReplayReport, ReplaySpec, ReplayState
from billow.schemas.tokens import is_token

T = TypeVar("T")

MAX_REPORT_BYTES = 512_000
MAX_RUN_ID = 50
"""Characters: what is named after a run has to fit in a token too."""
ALIVE_SECONDS = 10.0
"""A driver that has not written for so long is taken for dead."""


class TakenOverError(UsageError):
    """Somebody else drives the run now."""


class Run(NamedTuple):
    """A run as the bucket tells it."""

    spec: ReplaySpec
    state: ReplayState
    version: int
    """Of the state's key."""

    @property
    def is_driven(self) -> bool:
        """Whether its driver was heard of lately."""
        silent = (datetime.now(UTC) - self.state.updated_at).total_seconds()
        return self.state.status == "running" and bool(self.state.driver) and silent < ALIVE_SECONDS


class ReplayBook:
    """Reads and writes what is kept about runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def open(self) -> None:
        """Make the bucket if it is not there. Raises TransientError where the server does not answer."""
        await open_bucket(self._bus, REPLAYS)

    async def begin(self, spec: ReplaySpec, driver: str) -> Run:
        """Keep a new run; the same spec again, but for who began it and when, is the run that is there.

        Raises:
            UsageError: the id is not one, or that of another run.
        """
        if not is_token(spec.run_id) or len(spec.run_id) > MAX_RUN_ID:
            raise UsageError(f"A run is named by 1 to {MAX_RUN_ID} of a-z, 0-9, '_' and '-', not {spec.run_id!r}.")
        try:
            await put(self._bus, REPLAYS_BUCKET, f"{spec.run_id}.spec", codec.encode(spec), expected=0)
        except WrongRevisionError:
            there = await self._read(f"{spec.run_id}.spec", ReplaySpec)
            if there is None or _asked(there[0]) != _asked(spec):
                raise UsageError(
                    f"There is another run {spec.run_id!r}, which was asked for something else. Leave --run-id out, or "
                    f"see `billow replay show {spec.run_id}`."
                ) from None
        state = ReplayState(status="running", updated_at=datetime.now(UTC), driver=driver)
        try:
            await put(self._bus, REPLAYS_BUCKET, f"{spec.run_id}.state", codec.encode(state), expected=0)
        except WrongRevisionError:
            return await self.get(spec.run_id)
        return await self.get(spec.run_id)

    async def get(self, run_id: str) -> Run:
        """Raises UsageError where there is no such run."""
        if is_token(run_id):
            spec = await self._read(f"{run_id}.spec", ReplaySpec)
            state = await self._read(f"{run_id}.state", ReplayState)
            if spec is not None and state is not None:
                return Run(spec[0], state[0], state[1])
        raise UsageError(f"There is no run {run_id!r}; `billow replay list` shows those that there are.")

    async def all(self) -> list[Run]:
        """Every run, the oldest first."""
        entries = await revisions(self._bus, REPLAYS_BUCKET, "*.spec")
        specs = [codec.decode(entry.value, ReplaySpec) for entry in entries if entry.value is not None]
        found: list[Run] = []
        for spec in sorted(specs, key=lambda spec: spec.created_at):
            # One that is being made, or taken away, at this moment has a part only.
            with contextlib.suppress(UsageError):
                found.append(await self.get(spec.run_id))
        return found

    async def write(self, run: Run, state: ReplayState, *, driver: str = "") -> Run:
        """Put a new state in the place of the one of `run`.

        `driver` is who writes, where that drives the run: its last state does not name it any more.

        Raises:
            TakenOverError: somebody else wrote since.
        """
        try:
            data = codec.encode(state)
            version = await put(self._bus, REPLAYS_BUCKET, f"{run.spec.run_id}.state", data, expected=run.version)
        except WrongRevisionError as e:
            there = await self._read(f"{run.spec.run_id}.state", ReplayState)
            if there is None or not (there[0] == state or _is_ours(there[0], run.state, state, driver)):
                raise TakenOverError(f"Run {run.spec.run_id} was taken over by another command; this one ends.") from e
            # Our own earlier write, stored by a server that could not say so before it stopped.
            return await self.write(Run(run.spec, there[0], there[1]), state, driver=driver)
        return Run(run.spec, state, version)

    async def order(self, run_id: str) -> Order:
        """What its driver is to do."""
        found = await self._read(f"{run_id}.order", ReplayOrder)
        return "run" if found is None else found[0].order

    async def give_order(self, run_id: str, order: Order) -> None:
        """Tell its driver what to do; it looks twice a second."""
        await put(self._bus, REPLAYS_BUCKET, f"{run_id}.order", codec.encode(ReplayOrder(order=order)))

    async def take_up(self, run_id: str) -> bool:
        """Tell its driver to go on; False where it was told to cancel, which stays so."""
        found = await self._read(f"{run_id}.order", ReplayOrder)
        if found is not None and found[0].order == "cancel":
            return False
        order, expected = codec.encode(ReplayOrder(order="run")), 0 if found is None else found[1]
        try:
            await put(self._bus, REPLAYS_BUCKET, f"{run_id}.order", order, expected=expected)
        except WrongRevisionError:
            # An order that was given at this moment counts.
            return await self.take_up(run_id)
        return True

    async def report(self, run_id: str) -> ReplayReport | None:
        """What came of it, None until it is finished."""
        found = await self._read(f"{run_id}.report", ReplayReport)
        return None if found is None else found[0]

    async def keep_report(self, report: ReplayReport) -> ReplayReport:
        """Store it, with fewer examples if it would be too large; returns what is stored."""
        while len(data := codec.encode(report)) > MAX_REPORT_BYTES and any(
            found for changes in report.fields.values() for found in changes.examples.values()
        ):
            fields = {
                name: msgspec.structs.replace(
                    changes, examples={verdict: found[:-1] for verdict, found in changes.examples.items()}
                )
                for name, changes in report.fields.items()
            }
            report = msgspec.structs.replace(report, fields=fields)
        await put(self._bus, REPLAYS_BUCKET, f"{report.run_id}.report", data)
        return report

    async def promotion(self, run_id: str) -> tuple[PromotionState | None, int]:
        """How often it was promoted, and the version of that."""
        found = await self._read(f"{run_id}.promotion", PromotionState)
        return (None, 0) if found is None else found

    async def keep_promotion(self, run_id: str, state: PromotionState, expected: int) -> None:
        """Raises TakenOverError where somebody else promotes it at the same time."""
        try:
            await put(self._bus, REPLAYS_BUCKET, f"{run_id}.promotion", codec.encode(state), expected=expected)
        except WrongRevisionError as e:
            raise TakenOverError(f"Run {run_id} is being promoted or undone by another command.") from e

    async def _read(self, key: str, type_: type[T]) -> tuple[T, int] | None:
        entry = await last(self._bus, REPLAYS_BUCKET, key)
        return None if entry is None or entry.value is None else (codec.decode(entry.value, type_), entry.revision)


def _asked(spec: ReplaySpec) -> ReplaySpec:
    """What was asked for, however and whenever; how fast may differ."""
    never = datetime.min.replace(tzinfo=UTC)
    return msgspec.structs.replace(
        spec, created_at=never, created_by="", rate=0.0, in_flight=1, until=never, since=None, price_per_hour=0.0
    )


def _is_ours(there: ReplayState, before: ReplayState, after: ReplayState, driver: str) -> bool:
    """Whether who drives the run wrote what is there: nobody else writes under its name without another status."""
    driver = driver or after.driver
    return bool(driver) and there.driver == driver and there.status in (before.status, after.status)
