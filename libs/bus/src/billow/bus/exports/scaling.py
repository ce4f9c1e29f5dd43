"""What to scale by: the consumers whose lag tells how much work waits for a service or a model."""

from typing import Any, get_args

from billow.bus.topology import CONSUMERS, LANES, ConsumerSpec, inference_consumer
from billow.schemas.labels import Task

LAG = "pending + ack pending"
"""How many messages wait for an outcome. Pending alone is 0 while replicas hold everything and are overloaded."""
_MODEL = "{model}"


def consumer_list() -> dict[str, Any]:
    """All consumers by the service that is scaled by them, and those of a model as a template.

    In the template `{model}` stands for a model's token, and each lane has a consumer of its own.
    """
    return {
        "lag": LAG,
        "consumers": [_entry(spec) for spec in CONSUMERS],
        "models": [
            {**_entry(inference_consumer(task, _MODEL, lane)), "task": task, "lane": lane}
            for task in get_args(Task)
            for lane in LANES
        ],
    }


def _entry(spec: ConsumerSpec) -> dict[str, Any]:
    return {
        "service": spec.service,
        "stream": spec.stream,
        "durable": spec.durable,
        "filters": list(spec.filters),
        "ack_wait_s": spec.ack_wait,
        "lanes": list(LANES) if spec.stream in {"DOCUMENTS", "RUNS"} and spec.service != "worker" else [],
        "description": spec.description,
    }
