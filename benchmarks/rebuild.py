"""How fast the database is made anew from the stream, on SQLite and PostgreSQL: `make bench-rebuild`.

Documents are stated as a receipt service would, with the texts and layouts between that a rebuild passes over; then
each database is rebuilt and compared in turn, on the same stream.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.schemas.record import Record
from billow.services.receipt.exchange import exchange
from billow.services.receipt.places import Place, beside, clear
from billow.services.receipt.proof import Proof, Report
from billow.testkit.events import make_analyzed, make_completed, make_recognized, make_record, make_submitted
from billow.testkit.postgres import fresh_database, running_postgres

_AT_ONCE = 200
_ITEMS = 8


def _record(number: int) -> Record:
    """A receipt of eight lines."""
    record = make_record(f"doc-{number}")
    return msgspec.structs.replace(record, items=record.items * (_ITEMS // len(record.items)))


async def _tell(bus: Bus, count: int) -> None:
    async def one(number: int) -> None:
        name = f"doc-{number}"
        await publish_event(bus, make_submitted(name))
        await publish_event(bus, make_recognized(name))
        await publish_event(bus, make_analyzed(name))
        await publish_event(bus, make_completed(name, record=_record(number)))

    for start in range(0, count, _AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(start, min(start + _AT_ONCE, count))))


@contextlib.asynccontextmanager
async def _places(folder: Path) -> AsyncGenerator[dict[str, Place]]:
    with running_postgres() as server:
        async with fresh_database(server.url()) as url:
            yield {
                "SQLite": Place(f"sqlite+aiosqlite:///{folder / 'records.db'}"),
                "PostgreSQL": Place(url),
            }


async def _rebuild(bus: Bus, place: Place) -> Report:
    """Compared with a database that is full: after the first time it is replaced by what was built."""
    await clear(beside(place))
    proof = Proof(bus, beside(place), place, patience=0)
    report = await proof.run()
    if not report.equal:
        await exchange(place, beside(place), started=proof.started, window=report.since, keep_older=False)
    return report


async def _measure(count: int, repetitions: int) -> bool:
    is_proven = True
    with tempfile.TemporaryDirectory(prefix="billow-bench-") as name:
        folder = Path(name)
        async with (
            await EmbeddedServer.start(folder / "nats", log_file=folder / "nats.log") as server,
            await Bus.connect(server.url, name="bench") as bus,
            _places(folder) as places,
        ):
            await provision(bus)
            await _tell(bus, count)
            for place in places.values():
                await place.migrate()
                await _rebuild(bus, place)
            print(f"{count:,} documents of {_ITEMS} items, {repetitions} times in turn, documents/s")
            print(f"{'':12}{'rebuild':>10}{'compare':>10}{'proven':>10}")
            for _ in range(repetitions):
                for kind, place in places.items():
                    report = await _rebuild(bus, place)
                    is_proven &= report.proven and report.equal == count
                    rates = count / report.rebuild_seconds, count / report.compare_seconds
                    print(f"{kind:12}{rates[0]:>10,.0f}{rates[1]:>10,.0f}{report.proven!s:>10}")
    return is_proven


def main() -> None:
    """Exits with 1 if a rebuilt database was not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=2)
    arguments = parser.parse_args()
    if not asyncio.run(_measure(arguments.documents, arguments.repetitions)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
