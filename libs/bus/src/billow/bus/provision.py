"""What a process needs at its start: makes the streams, consumers and buckets that are missing.

What is there is left as it is, so that two versions may run side by side; `billow topology apply` changes it.
"""

import asyncio

from nats.js import api
from nats.js.kv import KeyValue

from billow.bus.buckets import open_bucket
from billow.bus.connection import Bus
from billow.bus.planning import configs
from billow.bus.planning.configs import Site, bucket_config, stream_config
from billow.bus.planning.ensure import ensure, ensure_consumer_of
from billow.bus.planning.server import Server
from billow.bus.topology import BUCKETS, CONSUMERS, MODELS, STREAMS, WAITS, ConsumerSpec, StreamSpec, images_of

_DECLARED = {spec.name: spec for spec in STREAMS}


def consumer_config(spec: ConsumerSpec) -> api.ConsumerConfig:
    """The configuration of a consumer for the stock client, for who makes one that is not declared."""
    config = {key: value for key, value in configs.consumer_config(spec).items() if key not in {"metadata", "backoff"}}
    return api.ConsumerConfig.from_response(config)


async def ensure_stream(bus: Bus, spec: StreamSpec, *, replicas: int = 0) -> None:
    """Create the stream if it is missing, with `replicas` copies or one. One that differs stays, and the log says so.

    More copies than it has are made where `replicas` asks for them.

    Raises:
        TransientError: the server did not answer, or the stream is missing and this user may not make it.
        PermanentError: the server refuses, e.g. for want of disk space.
    """
    await ensure(Server(bus), stream_config(spec, Site(replicas=replicas)), replicas=replicas)


async def ensure_consumer(bus: Bus, spec: ConsumerSpec) -> None:
    """Create the consumer if it is missing. One that differs stays, and the log says so.

    Where its stream is gone too, that is made again first.

    Raises:
        TransientError: the server did not answer, or the consumer is missing and this user may not make it.
        PermanentError: the server refuses.
    """
    server, config = Server(bus), configs.consumer_config(spec)
    if not await ensure_consumer_of(server, spec.stream, config):
        await ensure_stream(bus, _DECLARED[spec.stream])
        await ensure_consumer_of(server, spec.stream, config)


async def ensure_waits(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Open the bucket that excuses orderly waits; it is made if it is missing. Raises as `ensure_stream`."""
    return await open_bucket(bus, WAITS, replicas=replicas)


async def ensure_models(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Open the bucket in which workers announce themselves; it is made if it is missing. Raises as `ensure_stream`."""
    return await open_bucket(bus, MODELS, replicas=replicas)


async def ensure_images(bus: Bus, tenant: str, *, replicas: int = 0) -> None:
    """Create the bucket of a tenant's originals if it is missing; one that is there stays. Raises as `ensure_stream`.

    Putting an image does so too. This is for who wants stock clients to find the bucket before.
    """
    server, config = Server(bus), bucket_config(images_of(tenant), Site(replicas=replicas))
    if await server.stream(config["name"]) is None:
        await ensure(server, config)


async def provision(bus: Bus, *, replicas: int = 0) -> None:
    """Create all declared streams, consumers and buckets that are missing; safe from several processes at once.

    A user without the right to make anything passes where all is there. `replicas` 0 makes new ones with one copy:
    only whoever knows the cluster may ask for more, and then also gets them for what is there.

    Raises:
        TransientError: the server did not answer, or something is missing and this user may not make it.
        PermanentError: the server refuses.
    """
    server, site = Server(bus), Site(replicas=replicas)
    configs = [
        *(stream_config(spec, site) for spec in STREAMS),
        *(bucket_config(spec, site) for spec in BUCKETS),
    ]
    await asyncio.gather(*(ensure(server, config, replicas=replicas) for config in configs))
    await asyncio.gather(*(ensure_consumer(bus, spec) for spec in CONSUMERS))
