"""Replays that a test begins and drives by itself, without the command."""

from billow.bus.connection import Bus
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.driver import ReplayDriver
from billow.schemas.replay import ReplaySpec, ReplayState


async def begin(bus: Bus, spec: ReplaySpec) -> Run:
    """Put it into the book. Raises as `ReplayBook.begin`."""
    book = ReplayBook(bus)
    await book.open()
    return await book.begin(spec, "test")


async def drive(bus: Bus, spec: ReplaySpec) -> ReplayState:
    """Begin it, and drive it to its end. Raises as `ReplayDriver.drive`."""
    return await ReplayDriver(bus, await begin(bus, spec), driver="test").drive()
