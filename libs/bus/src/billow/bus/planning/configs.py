"""Declared specs in the server's own words, and back: JSON configurations of streams and consumers, times in ns."""

from typing import Any, cast

import msgspec

from billow.bus.topology import MINUTE, BucketSpec, ConsumerSpec, StreamSpec

Config = dict[str, Any]
"""A configuration as the server's JSON API has it."""

MARK = "billow"
"""Key of the metadata that says that we made a stream or consumer. One that carries it and is not declared any more is
ours to delete; one without it and with another name than ours is somebody else's, and is never touched."""
_MARKED = {MARK: "topology"}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on where the streams are, and not on what they are for."""

    replicas: int = 0
    """Copies of what does not declare its own; 0 keeps what there is, and makes new ones with one."""
    cluster: str = ""
    """Cluster that holds the streams; empty keeps what there is, which is the cluster of whoever made them."""
    tags: tuple[str, ...] = ()
    """Tags that a server must have to hold a stream; none keeps what there is."""


def ns(seconds: float) -> int:
    """Seconds as the server has them."""
    return round(seconds * 1e9)


def stream_config(spec: StreamSpec, site: Site) -> Config:
    """The configuration of a declared stream."""
    return {
        **_base(spec.name, spec.description, spec.subjects, spec.storage),
        "retention": spec.retention,
        "discard": spec.discard,
        "max_age": ns(spec.max_age),
        "max_bytes": spec.max_bytes,
        "max_msgs": spec.max_msgs,
        "max_msgs_per_subject": spec.max_msgs_per_subject,
        "discard_new_per_subject": spec.discard_new_per_subject,
        "duplicate_window": ns(spec.duplicate_window),
        "allow_direct": True,
        **_where(spec.replicas, site),
    }


def bucket_config(spec: BucketSpec, site: Site) -> Config:
    """The configuration of the stream behind a declared bucket, as stock clients make it."""
    if spec.kind == "objects":
        return {
            **_base(spec.stream, spec.description, (f"$O.{spec.name}.C.>", f"$O.{spec.name}.M.>"), spec.storage),
            "retention": "limits",
            "discard": "new",
            "max_age": ns(spec.ttl),
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            **_where(spec.replicas, site),
        }
    return {
        **_base(spec.stream, spec.description, (f"$KV.{spec.name}.>",), spec.storage),
        "retention": "limits",
        "discard": "new",
        "max_age": ns(spec.ttl),
        "max_msgs_per_subject": spec.history,
        "duplicate_window": ns(min(spec.ttl or 2 * MINUTE, 2 * MINUTE)),
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
        "deny_delete": True,
        # Whoever reads must see the last change: any replica may answer a direct get, also one that is behind.
        "allow_direct": False,
        "republish": (
            {"src": f"$KV.{spec.name}.*", "dest": f"{spec.said_again}.{{{{wildcard(1)}}}}"} if spec.said_again else None
        ),
        **_where(spec.replicas, site),
    }


def consumer_config(spec: ConsumerSpec) -> Config:
    """The configuration of a declared consumer."""
    single = len(spec.filters) == 1
    return {
        "name": spec.durable,
        "durable_name": spec.durable,
        "description": spec.description,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": ns(spec.ack_wait),
        "max_deliver": -1,
        "backoff": None,
        "max_ack_pending": spec.max_ack_pending,
        "max_waiting": 512,
        "filter_subject": spec.filters[0] if single else None,
        "filter_subjects": None if single else list(spec.filters),
        "metadata": _MARKED,
    }


def creation(config: Config) -> Config:
    """Of a configuration what is said when the thing is made: unset fields are left out."""
    return {key: value for key, value in config.items() if value is not None}


def is_marked(config: Config) -> bool:
    """Whether we made it."""
    return MARK in cast("dict[str, str]", config.get("metadata") or {})


def _base(name: str, description: str, subjects: tuple[str, ...], storage: str) -> Config:
    return {
        "name": name,
        "description": description,
        "subjects": list(subjects),
        "storage": storage,
        "metadata": _MARKED,
    }


def _where(replicas: int, site: Site) -> Config:
    config: Config = {}
    if replicas or site.replicas:
        config["num_replicas"] = replicas or site.replicas
    if site.cluster or site.tags:
        config["placement"] = {
            **({"cluster": site.cluster} if site.cluster else {}),
            **({"tags": list(site.tags)} if site.tags else {}),
        }
    return config
