# pyright: reportUnknownMemberType=false
"""Makes the server's streams, consumers and buckets what the topology says. Doing it again changes nothing."""

import nats.js.errors
from nats.js import api
from nats.js.kv import KeyValue

from billow.bus.buckets import ensure_bucket
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.routes import ensure_routes
from billow.bus.topology import (
    CONSUMERS,
    MODELS_BUCKET,
    MODELS_MAX_AGE,
    STREAMS,
    WAITS_BUCKET,
    WAITS_MAX_AGE,
    ConsumerSpec,
    StreamSpec,
)

_NAME_IN_USE = 10058
_DECLARED = {spec.name: spec for spec in STREAMS}


def stream_config(spec: StreamSpec, replicas: int) -> api.StreamConfig:
    """The server's configuration of a declared stream."""
    return api.StreamConfig(
        name=spec.name,
        subjects=list(spec.subjects),
        description=spec.description,
        retention=(api.RetentionPolicy.WORK_QUEUE if spec.retention == "workqueue" else api.RetentionPolicy.LIMITS),
        discard=api.DiscardPolicy.NEW if spec.discard == "new" else api.DiscardPolicy.OLD,
        max_age=spec.max_age,
        max_bytes=spec.max_bytes,
        max_msgs_per_subject=spec.max_msgs_per_subject,
        discard_new_per_subject=spec.discard_new_per_subject,
        duplicate_window=spec.duplicate_window,
        storage=api.StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
    )


def consumer_config(spec: ConsumerSpec) -> api.ConsumerConfig:
    """The server's configuration of a declared consumer."""
    single = len(spec.filters) == 1
    return api.ConsumerConfig(
        # With a name besides the durable name nats-py asks on a subject that carries the filter, which a
        # workstation's permission can name.
        name=spec.durable,
        durable_name=spec.durable,
        description=spec.description,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=spec.ack_wait,
        max_deliver=-1,
        max_ack_pending=spec.max_ack_pending,
        filter_subject=spec.filters[0] if single else None,
        filter_subjects=None if single else list(spec.filters),
    )


async def ensure_stream(bus: Bus, spec: StreamSpec, *, replicas: int = 0) -> None:
    """Create the stream, or update it where it differs. `replicas` 0 keeps those it has, and creates with one.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses, e.g. for want of disk space.
    """
    config = stream_config(spec, replicas or 1)
    with translated(f"creating stream {spec.name}"):
        try:
            await bus.js.add_stream(config)
        except nats.js.errors.BadRequestError as e:
            if e.err_code != _NAME_IN_USE:
                raise
            if not replicas:
                config.num_replicas = (await bus.js.stream_info(spec.name)).config.num_replicas
            await bus.js.update_stream(config)


async def ensure_consumer(bus: Bus, spec: ConsumerSpec) -> None:
    """Create the consumer, or update it where it differs; its position in the stream stays.

    Where its stream is gone too, that is made again first.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    with translated(f"creating consumer {spec.durable}"):
        try:
            await bus.js.add_consumer(spec.stream, consumer_config(spec))
        except nats.js.errors.NotFoundError:
            await ensure_stream(bus, _DECLARED[spec.stream])
            await bus.js.add_consumer(spec.stream, consumer_config(spec))


async def ensure_waits(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Create or open the bucket that excuses orderly waits."""
    return await ensure_bucket(bus, WAITS_BUCKET, ttl=WAITS_MAX_AGE, replicas=replicas)


async def ensure_models(bus: Bus, *, replicas: int = 0) -> KeyValue:
    """Create or open the bucket in which workers announce themselves.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    return await ensure_bucket(
        bus, MODELS_BUCKET, ttl=MODELS_MAX_AGE, storage=api.StorageType.MEMORY, replicas=replicas
    )


async def provision(bus: Bus, *, replicas: int = 0) -> None:
    """Create or update all declared streams, consumers and buckets; safe from several processes at once.

    `replicas` 0 keeps those that there are: only whoever knows the cluster may change them.

    Raises:
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    for stream in STREAMS:
        await ensure_stream(bus, stream, replicas=replicas)
    for consumer in CONSUMERS:
        await ensure_consumer(bus, consumer)
    await ensure_waits(bus, replicas=replicas)
    await ensure_models(bus, replicas=replicas)
    await ensure_routes(bus, replicas=replicas)
