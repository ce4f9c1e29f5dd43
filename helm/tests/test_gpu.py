"""Slices of a GPU: who gets one, and how much of its memory."""

import pytest
import yaml

from helm.tests.chart import BUILTIN, Object, example, merged, named, of_kind, render

_MODEL = "ppocr-v6-det-small_1-0-0"


def _gpu(**more: object) -> list[Object]:
    worker = {"name": "detector", "model": _MODEL, "runtime": "onnxruntime", "gpu": True, **more}
    return render(merged(BUILTIN, {"workers": [worker], "gpu": {"memory": 8192, "reserve": 15}}))


@pytest.mark.parametrize(("slices", "memory"), [(1, 6963), (2, 3481), (4, 1740), (8, 870)])
def test_all_slices_together_leave_the_reserve_free(slices: int, memory: int) -> None:
    settings = named(_gpu(slices=slices), "ConfigMap", "billow-worker-detector")["data"]
    assert int(settings["BILLOW_GPU_MEMORY"]) == memory
    assert slices * memory <= 8192 * 0.85


def test_a_card_of_another_size_counts() -> None:
    settings = named(_gpu(slices=4, gpuMemory=24576), "ConfigMap", "billow-worker-detector")["data"]
    assert settings["BILLOW_GPU_MEMORY"] == "5222"
    assert settings["BILLOW_DEVICE"] == "cuda"


def test_a_worker_asks_for_one_slice_of_a_machine_that_is_cut_so() -> None:
    pod = named(example("hybrid"), "Deployment", "billow-worker-detector")["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    wanted = {each["key"]: each["values"] for each in terms[0]["matchExpressions"]}
    assert wanted == {"nvidia.com/device-plugin.config": ["slices-4"], "billow/pool": ["workstation"]}
    assert pod["tolerations"] == [
        {"key": "billow/pool", "operator": "Equal", "value": "workstation", "effect": "NoSchedule"}
    ]


def test_the_device_plugin_refuses_requests_for_two_slices() -> None:
    config = named(example("hybrid"), "ConfigMap", "billow-time-slicing")
    assert config["metadata"]["namespace"] == "gpu-operator"
    assert set(config["data"]) == {"slices-4"}
    sharing = yaml.safe_load(config["data"]["slices-4"])["sharing"]["timeSlicing"]
    assert sharing["failRequestsGreaterThanOne"] is True
    assert sharing["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]


def test_a_gpu_of_its_own_is_not_shared() -> None:
    worker = {"name": "detector", "model": _MODEL, "gpu": True, "slices": 1}
    values = {"workers": [worker], "gpu": {"timeSlicing": {"enabled": True}}}
    config = named(render(merged(BUILTIN, values)), "ConfigMap", "billow-time-slicing")
    assert "sharing" not in yaml.safe_load(config["data"]["slices-1"])


@pytest.mark.parametrize(
    ("worker", "image"),
    [
        ({}, "billow/worker-cpu:0.1.0"),
        ({"gpu": True}, "billow/worker-onnx-gpu:0.1.0"),
        ({"gpu": True, "runtime": "tensorflow"}, "billow/worker-tensorflow-gpu:0.1.0"),
        ({"image": {"tag": "mine"}}, "billow/worker-cpu:mine"),
    ],
)
def test_the_image_fits_the_runtime(worker: dict[str, object], image: str) -> None:
    objects = render(merged(BUILTIN, {"workers": [{"name": "detector", "model": _MODEL, **worker}]}))
    deployed = named(objects, "Deployment", "billow-worker-detector")["spec"]["template"]["spec"]
    assert deployed["containers"][0]["image"] == image


def test_a_slice_is_given_back_before_the_next_pod_takes_it() -> None:
    for each in of_kind(example("hybrid"), "Deployment"):
        if each["metadata"]["labels"]["billow/role"] == "worker":
            assert each["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_threads_are_those_that_the_limit_allows() -> None:
    values = {"workers": [{"name": "a", "model": _MODEL, "resources": {"limits": {"cpu": "2500m"}}}]}
    assert named(render(merged(BUILTIN, values)), "ConfigMap", "billow-worker-a")["data"]["BILLOW_THREADS"] == "2"
