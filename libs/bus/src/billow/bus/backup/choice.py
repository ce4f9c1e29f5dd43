"""Which streams are backed up, and in which order."""

from collections.abc import Iterable

from billow.bus.planning.configs import is_marked
from billow.bus.planning.server import Answer
from billow.bus.topology import (
    ADMISSION,
    BUCKETS,
    DOCUMENTS,
    IMAGES_PREFIX,
    INFERENCE,
    MODELS,
    RESULTS,
    RUNS,
    STREAMS,
    WAITS,
)
from billow.schemas.tokens import is_token

REMADE = frozenset({INFERENCE.name, RESULTS.name, WAITS.stream, MODELS.stream, ADMISSION.stream})
"""Streams that are not backed up. Work and answers are made again from `DOCUMENTS`. A restored consumer counts
deliveries from 1, so what `WAITS` had would excuse too many. The other two are of the moment."""

_IMAGES = f"OBJ_{IMAGES_PREFIX}"
_FIRST = (DOCUMENTS.name, RUNS.name)


def chosen(found: Iterable[Answer]) -> list[str]:
    """Names of the streams to back up of those at the server, in order.

    `DOCUMENTS` comes first and images last: whatever an event speaks of was stored before it, so it is in what is
    copied after it.
    """
    names = [str(each["config"]["name"]) for each in found if _is_ours(each["config"])]
    return sorted((name for name in names if name not in REMADE), key=_place)


def _is_ours(config: Answer) -> bool:
    name = str(config["name"])
    declared = {spec.name for spec in STREAMS} | {spec.stream for spec in BUCKETS}
    return name in declared or is_marked(config) or (name.startswith(_IMAGES) and is_token(name.removeprefix(_IMAGES)))


def _place(name: str) -> tuple[int, str]:
    if name in _FIRST:
        return _FIRST.index(name), name
    return (4 if name.startswith(_IMAGES) else 3 if name.startswith("KV_") else 2), name
