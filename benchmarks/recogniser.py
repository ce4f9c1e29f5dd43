"""A plain PP-OCR recogniser for the peers: pictures of lines in, texts out. Nothing of ours is in it.

The same work, in the same order, as our worker does it, and the same settings of the model's runtime: scaled to 48 px
of height, bucketed by width to 32 px, best class of each step, repeats and blanks dropped.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

HEIGHT = 48
STEP = 32
SETTINGS = "BENCH_SERVING"
"""Variable that tells a peer what to serve, since most of them start processes of their own."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a peer serves, and where."""

    weights: str
    engine: str
    """`openvino` or `onnxruntime`."""
    threads: int
    port: int
    max_batch: int
    max_wait_ms: float
    processes: int = 1
    """That hold the model."""

    @classmethod
    def of_environment(cls) -> "Settings":
        """As whoever started the peer said."""
        return cls(**json.loads(os.environ[SETTINGS]))


class Recogniser:
    """One loaded model; not for two threads at once."""

    def __init__(self, settings: Settings) -> None:
        load = {"openvino": _openvino, "onnxruntime": _onnxruntime}[settings.engine]
        self._run, listed = load(settings.weights, settings.threads)
        self._characters = ["", *listed.removesuffix("\n").split("\n"), " "]
        self._max_batch = settings.max_batch
        cv2.setNumThreads(1)
        self.read([cv2.imencode(".jpg", np.zeros((HEIGHT, 320, 3), np.uint8))[1].tobytes()])

    def read(self, pictures: list[bytes]) -> list[str]:
        """The text of each encoded picture, in order."""
        images: list[Any] = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
        widths = [max(math.ceil(HEIGHT * image.shape[1] / image.shape[0]), 1) for image in images]
        buckets: dict[int, list[int]] = {}
        for index, width in enumerate(widths):
            buckets.setdefault(max(math.ceil(width / STEP) * STEP, STEP), []).append(index)
        texts = [""] * len(images)
        for bucket, members in buckets.items():
            for start in range(0, len(members), self._max_batch):
                part = members[start : start + self._max_batch]
                tensor = np.zeros((len(part), 3, HEIGHT, bucket), np.float32)
                for row, index in zip(tensor, part, strict=True):
                    scaled = cv2.resize(images[index], (widths[index], HEIGHT), interpolation=cv2.INTER_LINEAR)
                    row[:, :, : widths[index]] = scaled.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1.0
                for index, classes in zip(part, self._run(tensor).argmax(axis=2), strict=True):
                    texts[index] = self._text(classes)
        return texts

    def _text(self, classes: Any) -> str:
        kept = classes != 0
        kept[1:] &= classes[1:] != classes[:-1]
        return "".join(self._characters[index] for index in classes[kept])


def _openvino(weights: str, threads: int) -> Any:
    # Its model converter would report to an analytics service.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from openvino import Core

    core = Core()
    model = core.read_model(weights)
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    listed = str(model.get_rt_info("framework").value["character"])
    return lambda tensor: request.infer({"x": tensor}, share_inputs=True)[0], listed


def _onnxruntime(weights: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    listed = session.get_modelmeta().custom_metadata_map["character"]
    return lambda tensor: session.run(None, {"x": tensor})[0], listed
