# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "bentoml==1.4.39", "onnxruntime==1.31.1", "openvino==2026.4.1", "opencv-python-headless>=4.10", "numpy>=2",
# ]
# ///
"""The recogniser behind BentoML with adaptive batching: POST /read `{"images": [base64]}` -> `[text]`."""

# pyright: basic, reportMissingImports=false

import base64
import os
import sys

import bentoml

from benchmarks.recogniser import Recogniser, Settings

SETTINGS = Settings.of_environment()


# It refuses what waits longer than `max_latency_ms`, so that one is far away: nothing may be refused here.
@bentoml.service(
    workers=SETTINGS.processes,
    traffic={"timeout": 120, "max_concurrency": 1024},
    logging={"access": {"enabled": False}},
)
class Service:
    """Decodes, reads, answers."""

    def __init__(self) -> None:
        self.recogniser = Recogniser(SETTINGS)

    @bentoml.api(batchable=True, max_batch_size=SETTINGS.max_batch, max_latency_ms=60_000)
    def read(self, images: list[str]) -> list[str]:
        return self.recogniser.read([base64.b64decode(image) for image in images])


if __name__ == "__main__":
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    arguments = ["serve", "benchmarks.bentoml_peer:Service", "--host", "127.0.0.1", "--port", str(SETTINGS.port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *arguments])
