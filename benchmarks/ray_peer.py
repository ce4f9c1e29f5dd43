# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ray[serve]==2.60.0", "onnxruntime==1.31.1", "openvino==2026.4.1", "opencv-python-headless>=4.10", "numpy>=2",
# ]
# ///
"""The recogniser behind Ray Serve with dynamic batching: POST / with the picture as body -> the text as JSON."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import asyncio
import os
import time

from benchmarks.recogniser import SETTINGS, Recogniser, Settings

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Else it would pack this folder and start every process of its own by `uv run` with the same arguments.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_raylet_start_wait_time_s"] = "120"  # noqa: SIM112 - its own spelling

import ray
from ray import serve

settings = Settings.of_environment()


@serve.deployment(num_replicas=settings.processes, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Service:
    """Decodes, reads, answers."""

    def __init__(self) -> None:
        self.recogniser = Recogniser(settings)

    @serve.batch(max_batch_size=settings.max_batch, batch_wait_timeout_s=settings.max_wait_ms / 1000)
    async def read(self, pictures: list) -> list:
        return await asyncio.to_thread(self.recogniser.read, pictures)

    async def __call__(self, request):
        return await self.read(await request.body())


if __name__ == "__main__":
    environment = {"env_vars": {SETTINGS: os.environ[SETTINGS]}}
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, runtime_env=environment)
    serve.start(http_options={"host": "127.0.0.1", "port": settings.port, "access_log": False})
    serve.run(Service.bind(), name="recogniser")
    while True:
        time.sleep(60)
