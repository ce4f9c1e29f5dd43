"""Where a consumer goes on that has to be made anew, kept at the server until it is there again.

Between the end of the old consumer and the making of the new one everything may break off, and whoever makes a
consumer that is missing would begin at the beginning of the stream. So its place is noted before, in the metadata of
the stream, where everybody may read it who may look at the stream. A place that is too old does no harm: all before it
has an outcome.
"""

from billow.bus.planning.configs import Config
from billow.bus.planning.differences import merged
from billow.bus.planning.server import Answer, Server
from billow.bus.topology import INFERENCE

_KEY = "billow-place-"


async def note_place(server: Server, stream: str, name: str) -> None:
    """Keep where a consumer is, if it is there: at the first message that has no outcome yet. Raises as `Server`."""
    # A work queue holds only what has no outcome, and its consumers begin at the beginning.
    if stream != INFERENCE.name and (consumer := await server.consumer(stream, name)) is not None:
        await _keep(server, stream, name, str(consumer["ack_floor"]["stream_seq"] + 1))


async def noted_place(server: Server, stream: str, name: str) -> Config:
    """Of a consumer's configuration what says where it begins; empty where no place is noted. Raises as `Server`."""
    if stream == INFERENCE.name or (found := await server.stream(stream)) is None:
        return {}
    place = _metadata(found).get(_KEY + name, "")
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": int(place)} if place.isdigit() else {}


async def forget_place(server: Server, stream: str, name: str) -> None:
    """The consumer is there again. Raises as `Server`."""
    await _keep(server, stream, name, None)


async def _keep(server: Server, stream: str, name: str, place: str | None) -> None:
    found = await server.stream(stream)
    if found is None or _metadata(found).get(_KEY + name) == place:
        return
    config = merged({}, found["config"])
    config["metadata"].pop(_KEY + name, None)
    if place is not None:
        config["metadata"][_KEY + name] = place
    await server.ask(f"STREAM.UPDATE.{stream}", config)


def _metadata(found: Answer) -> dict[str, str]:
    return found["config"].get("metadata") or {}
