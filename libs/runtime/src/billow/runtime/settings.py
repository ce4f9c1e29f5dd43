"""Settings from the environment, checked once at start-up."""

import os
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from billow.runtime.errors import UsageError

S = TypeVar("S", bound=msgspec.Struct)


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process can be told."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Servers to connect to, separated by commas."""
    nats_domain: str = ""
    """JetStream domain of the hub, needed behind a leaf node; empty for none."""
    log_level: str = "info"
    log_format: str = "json"
    """`json` or `console`."""
    connect_timeout: float = 30.0
    """seconds to wait for NATS at start-up"""
    replicas: int = 0
    """Copies of each stream in the cluster; 0 keeps what there is, and makes new streams with one."""
    stop_with_parent: bool = False
    """Whether to drain and leave when the process that started this one is gone."""
    drain: Annotated[float, Meta(ge=0)] = 25.0
    """seconds that documents in hand have once the process is told to stop; what is not done then is given back"""
    ready_file: str = ""
    """Touched once the process can take work, removed when it stops; empty for none."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Where Prometheus finds `/metrics`; 0 for nowhere. Each process of a machine needs a port of its own."""


def load(
    type_: type[S],
    *,
    prefix: str = "BILLOW_",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> S:
    """Read the fields of a Struct from `<prefix><FIELD>` variables; what is not set keeps its default.

    `overrides`, by field name, win over the environment.

    Raises:
        UsageError: a value does not fit; the message names the variable.
    """
    env = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(type_):
        variable = prefix + field.name.upper()
        if variable in env:
            values[field.name] = env[variable]
    values.update(overrides or {})
    try:
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as e:
        field_name = str(e).rpartition("$.")[2].rstrip("`")
        raise UsageError(f"{prefix}{field_name.upper()}: {e}. Correct or unset this variable.") from e
