"""Values that differ in everything that the chart decides by, few enough to render all."""

import itertools
import random
from collections.abc import Mapping
from typing import Any

from helm.tests.chart import merged

Values = Mapping[str, Any]

_SECRET = {"existingSecret": "ours"}
_CLUSTER = {"url": "tls://a:4222,tls://b:4222", "monitor": "nats-headless:8222", "domain": "hub", "replicas": 3}
_PASSWORDS = dict.fromkeys(("operator", "ocr", "layout", "receipt", "gateway"), "secret") | {
    f"worker-{model}": "secret" for model in ("ppocr-v6-det-small_1-0-0", "ppocr-v6-rec-small_1-0-0", "rules_1-0-0")
}
GATEWAY = {
    "http": {"port": 8080},
    "natsUser": "client-default",
    "scaling": {"by": "hpa", "min": 2, "requestsPerSecond": 50},
    "ingress": {"enabled": True, "host": "receipts.example.org", "tls": {"clusterIssuer": "letsencrypt"}},
}
"""A service that comes later: one entry."""
_GPU = {"gpu": True, "runtime": "onnxruntime", "slices": 4, "minReplicas": 0, "maxReplicas": 4}

OPTIONS: dict[str, dict[str, Values]] = {
    "nats": {
        "builtin": {"nats": {"builtin": {"enabled": True, "exporter": {"enabled": True}}}},
        "builtin without users": {"nats": {"builtin": {"enabled": True}, "auth": {"enabled": False}, "domain": "hub"}},
        "secret": {"nats": {**_CLUSTER, "auth": _SECRET, "ca": {"existingSecret": "ca"}}},
        "passwords": {"nats": {**_CLUSTER, "auth": {"passwords": {**_PASSWORDS, "client-default": "secret"}}}},
        "without users": {"nats": {"url": "nats://a:4222", "monitor": "a:8222", "auth": {"enabled": False}}},
    },
    "database": {
        "builtin": {"database": {"builtin": {"enabled": True}}},
        "secret": {"database": {**_SECRET, "key": "dsn"}},
        "url": {"database": {"url": "postgresql+asyncpg://u:p@db/billow"}},
    },
    "scaling": {
        "fixed": {
            "serviceDefaults": {"replicas": 2},
            "services": {n: {"scaling": {"by": "none"}} for n in ("ocr", "layout")},
        },
        "keda": {"keda": {"enabled": True}},
        "keda for services": {
            "keda": {"enabled": True},
            "services": {n: {"scaling": {"by": "keda", "min": 0}} for n in ("ocr", "layout", "receipt")},
        },
    },
    "workers": {
        "cpu": {},
        "none": {"workers": []},
        "slices": {
            "workers": [
                {"name": "detector", "model": "ppocr-v6-det-small_1-0-0", **_GPU},
                {"name": "rules", "model": "rules_1-0-0", "pool": "cloud", "priority": "bulk"},
            ],
            "gpu": {"timeSlicing": {"enabled": True}, "runtimeClassName": "nvidia"},
        },
        "whole gpu": {"workers": [{"name": "detector", "model": "ppocr-v6-det-small_1-0-0", **_GPU, "slices": 1}]},
    },
    "cache": {
        "emptyDir": {},
        "claim": {"models": {"cache": {"kind": "claim", "className": "fast"}}},
        "existing": {"models": {"cache": {"kind": "claim", "existingClaim": "models"}}},
        "hostPath": {"models": {"cache": {"kind": "hostPath"}, "pull": {"env": {"PIP_INDEX_URL": "https://index"}}}},
        "baked in": {"models": {"pull": {"enabled": False}}},
    },
    "outside": {"none": {}, "gateway": {"services": {"gateway": GATEWAY}}},
    "pools": {
        "any": {"networkPolicy": {"enabled": False}, "serviceDefaults": {"pdb": {"enabled": False}}},
        "labelled": {
            "pools": {
                "cloud": {"label": {"key": "billow/pool", "values": ["cloud"]}},
                "workstation": {
                    "label": {"key": "billow/pool", "values": ["workstation"]},
                    "tolerations": [{"key": "billow/pool", "operator": "Exists"}],
                },
            }
        },
        "own classes": {
            "priorityClasses": {"create": False, "existing": {"interactive": "high"}},
            "serviceDefaults": {"spread": {"hosts": "DoNotSchedule", "zones": ""}},
            "commonLabels": {"team": "receipts"},
        },
    },
    "monitoring": {
        "off": {},
        "on": {
            "metrics": {"serviceMonitor": {"enabled": True}, "dashboards": {"enabled": True}},
            "networkPolicy": {"monitoringFrom": [{"namespaceSelector": {}}]},
        },
    },
    "jobs": {"on": {}, "off": {"topology": {"enabled": False}, "migrations": {"enabled": False}}},
    "images": {
        "default": {},
        "registry": {"image": {"registry": "registry.example.org/team", "tag": "1.2.3", "pullSecrets": ["registry"]}},
    },
}

_SEED = 5


def matrix() -> dict[str, Values]:
    """Values by what they choose; every two choices that can stand together do so in one of them."""
    rng = random.Random(_SEED)
    axes = list(OPTIONS)
    missing = {
        frozenset({(a, x), (b, y)}) for a, b in itertools.combinations(axes, 2) for x in OPTIONS[a] for y in OPTIONS[b]
    }
    found: dict[str, Values] = {}
    while missing:
        candidates = [{axis: rng.choice(list(OPTIONS[axis])) for axis in axes} for _ in range(40)]
        # The first pair that is missing is in each, so that every turn makes progress.
        first = min(missing, key=sorted)
        for candidate in candidates:
            candidate.update(dict(first))
        best = max(candidates, key=lambda chosen: len(_pairs(chosen) & missing))
        missing -= _pairs(best)
        values: Values = {}
        for axis, option in best.items():
            values = merged(values, OPTIONS[axis][option])
        found[", ".join(best.values())] = values
    return found


def _pairs(chosen: Mapping[str, str]) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(pair) for pair in itertools.combinations(chosen.items(), 2)}
