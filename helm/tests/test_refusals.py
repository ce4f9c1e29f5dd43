"""Values that cannot work are refused, with a message that names the key."""

from typing import Any

import pytest

from helm.tests.chart import refusal

_KEDA = {"keda": {"enabled": True}}
_DETECTOR = {"name": "detector", "model": "ppocr-v6-det-small_1-0-0"}
_OUTSIDE = {"builtin": {"enabled": False}}


def _worker(**more: Any) -> dict[str, Any]:
    return {"workers": [{**_DETECTOR, **more}]}


def _service(**more: Any) -> dict[str, Any]:
    return {"services": {"ocr": more}}


# What is wrong, the key as the message names it, and what it says.
WRONG_TYPES: list[tuple[dict[str, Any], str, str]] = [
    (_service(replicas="many"), "/services/ocr/replicas", "got string, want integer"),
    (_service(replica=3), "/services/ocr", "'replica' not allowed"),
    ({"sevices": {}}, "", "'sevices' not allowed"),
    ({"image": {"tag": "latest"}}, "/image/tag", "'not' failed"),
    (_service(image={"tag": "latest"}), "/services/ocr/image/tag", "'not' failed"),
    ({"nats": {"builtin": {"image": {"tag": ""}}}}, "/nats/builtin/image/tag", "minLength"),
    ({"nats": {"url": "http://nats"}}, "/nats/url", "does not match"),
    ({"nats": {"replicas": 9}}, "/nats/replicas", "maximum"),
    ({"database": {"url": "sqlite:///billow.db"}}, "/database/url", "does not match"),
    ({"workers": [{"name": "detector"}]}, "/workers/0", "missing property 'model'"),
    (_worker(model="ppocr-v6-det-small"), "/workers/0/model", "does not match"),
    (_worker(name="Detector_1"), "/workers/0/name", "does not match"),
    (_worker(runtime="torch"), "/workers/0/runtime", "one of"),
    (_worker(slices=0), "/workers/0/slices", "minimum"),
    (_service(priority="urgent"), "/services/ocr/priority", "one of"),
    (_service(scaling={"by": "cpu"}), "/services/ocr/scaling/by", "one of"),
    (_service(drainSeconds=0), "/services/ocr/drainSeconds", "minimum"),
    (_service(resources={"limits": {"memory": "lots"}}), "/services/ocr/resources/limits/memory", "does not match"),
    ({"serviceDefaults": {"resources": {"limits": {"cpu": None}}}}, "/serviceDefaults/resources/limits", "'cpu'"),
    ({"security": {"user": 0}}, "/security/user", "minimum"),
    ({"models": {"cache": {"kind": "nfs"}}}, "/models/cache/kind", "one of"),
    ({"gpu": {"memory": "8Gi"}}, "/gpu/memory", "want integer"),
    ({"pools": {"cloud": {"label": {"key": "a"}}}}, "/pools/cloud/label", "'values'"),
    ({"log": {"level": "loud"}}, "/log/level", "one of"),
    ({"metrics": {"port": 80}}, "/metrics/port", "minimum"),
]

DO_NOT_FIT: list[tuple[dict[str, Any], str]] = [
    ({"nats": _OUTSIDE}, "nats.url: name the servers"),
    ({"nats": {"url": "nats://a:4222"}}, "nats.url: leave it empty"),
    ({"nats": {"domain": "hub"}}, "nats.domain: the users of the built-in server"),
    ({"nats": {"replicas": 3}}, "nats.replicas: 3 copies need a cluster"),
    ({"nats": {**_OUTSIDE, "url": "nats://a:4222"}}, "nats.auth.existingSecret: name the secret"),
    (
        {"nats": {"auth": {"existingSecret": "a", "passwords": {"ocr": "b"}}}},
        "nats.auth.passwords: they would not be used",
    ),
    (
        {"nats": {**_OUTSIDE, "url": "nats://ocr:pw@a:4222", "auth": {"enabled": False}}},
        "nats.url: it holds a password",
    ),
    (
        {"nats": {**_OUTSIDE, "url": "nats://a:4222", "auth": {"passwords": {"ocr": "b"}}}},
        "nats.auth.passwords.layout: missing",
    ),
    ({**_KEDA, "nats": {**_OUTSIDE, "url": "nats://a:4222", "auth": {"existingSecret": "a"}}}, "nats.monitor: KEDA"),
    ({"keda": {"enabled": True, "version": "2.19.0"}}, "keda.version: 2.19.0 scales to the maximum"),
    ({"database": {"builtin": {"enabled": False}}}, "database.existingSecret: services.receipt needs a database"),
    ({"nats": {"auth": {"passwords": {"ocr": "12345678"}}}}, "nats.auth.passwords.ocr: nats-server would read"),
    ({"database": {"existingSecret": "a"}}, "database.builtin.enabled: there is"),
    (
        {"database": {"builtin": {"enabled": False}, "existingSecret": "a", "url": "postgresql+asyncpg://a"}},
        "database.url: it would not be used",
    ),
    ({"nats": {"builtin": {"pool": "moon"}}}, 'nats.builtin.pool: there is no pool "moon"'),
    (_service(pool="moon"), 'services.ocr.pool: there is no pool "moon"'),
    (_service(terminationGracePeriodSeconds=20), "services.ocr.terminationGracePeriodSeconds: 20 s cut off"),
    (_service(env={"BILLOW_NATS_PASSWORD": "x"}), "services.ocr.env.BILLOW_NATS_PASSWORD: a secret"),
    (_worker(env={"PIP_TOKEN": "x"}), "workers[0].env.PIP_TOKEN: a secret"),
    (_service(natsUser="nobody"), 'services.ocr: the built-in NATS has no user "nobody"'),
    (_worker(model="other_1-0-0"), 'workers[0]: the built-in NATS has no user "worker-other_1-0-0"'),
    (_service(scaling={"min": 5}), "services.ocr.scaling: 3 pods at most (max) and 5 at least (min)"),
    (_service(scaling={"min": 0}), "services.ocr.scaling.min: 0 only by KEDA"),
    (_service(scaling={"cpu": 0}), "services.ocr.scaling.cpu: with 0"),
    (
        {"serviceDefaults": {"resources": {"requests": {"cpu": None}}}},
        "services.layout.resources.requests.cpu: scaling by CPU needs it",
    ),
    (_service(scaling={"by": "keda"}), "services.ocr.scaling.by: keda needs keda.enabled"),
    (
        {**_KEDA, "services": {"console": {"natsUser": "client-default", "scaling": {"by": "keda"}}}},
        "services.console.scaling.by: no consumer",
    ),
    (
        _service(ingress={"enabled": True, "host": "a.example.org"}),
        "services.ocr.ingress.enabled: set services.ocr.http.port",
    ),
    (_service(http={"port": 80}, ingress={"enabled": True}), "services.ocr.ingress.host: name the host"),
    ({"services": {"nats": {"natsUser": "ocr"}}}, "services.nats: this name is taken"),
    ({"workers": [_DETECTOR, _DETECTOR]}, 'workers[1].name: "detector" is taken'),
    (_worker(minReplicas=3), "workers[0].maxReplicas: 1 pods at most"),
    (_worker(gpu=True, runtime="openvino"), "workers[0].gpu: openvino does not run"),
    (_worker(slices=4), "workers[0].slices: only a GPU has slices"),
    (_worker(gpu=True, slices=32), "workers[0].slices: 32 slices leave a worker less than 512 MiB"),
    (_worker(gpu=True, variant="cpu"), "workers[0].variant: the image cpu cannot use a GPU"),
    (_worker(variant="onnx-gpu"), "workers[0].variant: onnx-gpu is for workers with gpu: true"),
    ({"models": {"cache": {"existingClaim": "a"}}}, "models.cache.existingClaim: it is not used"),
    ({"priorityClasses": {"bulk": 100000}}, "priorityClasses.interactive: 100000 is not above priorityClasses.bulk"),
]


@pytest.mark.parametrize(
    ("values", "key", "reason"), WRONG_TYPES, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_value_of_the_wrong_form_is_named(values: dict[str, Any], key: str, reason: str) -> None:
    message = refusal(values)
    assert f"at '{key}'" in message
    assert reason in message


@pytest.mark.parametrize(("values", "says"), DO_NOT_FIT, ids=lambda each: each if isinstance(each, str) else "")
def test_values_that_do_not_fit_together_are_named(values: dict[str, Any], says: str) -> None:
    assert f"- {says}" in refusal(values)


def test_all_faults_are_told_at_once() -> None:
    message = refusal({"nats": {"replicas": 3}, "keda": {"enabled": True, "version": "2.1"}, **_service(pool="moon")})
    assert all(key in message for key in ("nats.replicas", "keda.version", "services.ocr.pool"))
