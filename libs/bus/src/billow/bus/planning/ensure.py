"""Makes what is missing, and leaves alone what is there.

Two versions run side by side while a site is updated. If each made the server what it declares, they would flip the
configuration back and forth; so processes only say where it differs, and an operator decides.
"""

import structlog

from billow.bus.planning.configs import Config, creation
from billow.bus.planning.differences import differences, merged
from billow.bus.planning.places import noted_place
from billow.bus.planning.server import Answer, Server
from billow.runtime.errors import PermanentError, TransientError

log = structlog.get_logger()

_WHAT_TO_DO = "An operator makes what is missing with `billow topology apply`, with a user that has the right to."


async def ensure(server: Server, wanted: Config, *, replicas: int = 0) -> bool:
    """Make a stream if it is not there; False if it was. More copies than it has are made where they are asked for.

    Raises:
        TransientError: the server did not answer, or this user may neither look nor make it.
        PermanentError: the server refuses.
    """
    name = str(wanted["name"])
    found = await server.stream(name)
    if found is None:
        try:
            await server.ask(f"STREAM.CREATE.{name}", creation(wanted))
        except PermanentError:
            # Another process, with other settings, may have been quicker.
            found = await server.stream(name)
            if found is None:
                raise
        except TransientError as e:
            raise TransientError(f"The stream {name} is missing and cannot be made ({e}). {_WHAT_TO_DO}") from e
        else:
            return True
    await _raise_copies(server, found["config"], replicas)
    asked = {key: value for key, value in wanted.items() if key != "num_replicas"}
    _say_differences("stream", name, asked, found["config"])
    return False


async def ensure_consumer_of(server: Server, stream: str, wanted: Config) -> bool:
    """Make a consumer if it is not there; False, and nothing is done, if even its stream is not.

    Raises:
        TransientError: the server did not answer, or this user may neither look nor make it.
        PermanentError: the server refuses.
    """
    name = str(wanted["name"])
    found = await server.consumer(stream, name)
    if found is None:
        try:
            # An operator's change may have broken off in between.
            place = await noted_place(server, stream, name)
            return await server.make_consumer(stream, creation(wanted) | place, "create")
        except PermanentError:
            # Another process, with other settings, may have been quicker.
            found = await server.consumer(stream, name)
            if found is None:
                raise
        except TransientError as e:
            raise TransientError(f"The consumer {name} is missing and cannot be made ({e}). {_WHAT_TO_DO}") from e
    _say_differences("consumer", name, wanted, found["config"])
    return True


async def _raise_copies(server: Server, config: Answer, replicas: int) -> None:
    """`BILLOW_REPLICAS` is of the site, not of the version. Fewer copies only an operator makes."""
    if replicas <= config.get("num_replicas", 1):
        return
    name = config["name"]
    try:
        await server.ask(f"STREAM.UPDATE.{name}", merged({"num_replicas": replicas}, config))
    except (TransientError, PermanentError) as e:
        log.warning(
            f"{name} has fewer copies than asked for, see `billow topology plan --replicas {replicas}`", reason=str(e)
        )


def _say_differences(kind: str, name: str, wanted: Config, found: Config) -> None:
    fields = [change.field for change in differences(wanted, found)]
    if fields:
        log.warning(
            f"the {kind} {name} is not as this version of Billow declares it and stays as it is; "
            "`billow topology plan` shows the difference",
            fields=fields,
        )
