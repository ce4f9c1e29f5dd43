"""What a worker can be told through the environment."""

from typing import Annotated, Literal

from msgspec import Meta

from billow.engines.load import Device
from billow.engines.manifest import Runtime
from billow.runtime.settings import ProcessSettings


class WorkerSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of a worker, `BILLOW_<FIELD>`."""

    model: str = ""
    """Name or token of the model to serve; the command line wins."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """CPU threads of the model; 0 takes all cores."""
    runtime: Runtime | Literal[""] = ""
    """What runs the model, of those that its manifest lists; empty takes the first that is installed and serves the
    device. A Python model has no choice of runtime or device, so it heeds none of these three."""
    device: Device = "cpu"
    """`cpu`, `cuda` for the first GPU that the process sees, or `tensorrt` for the same by TensorRT, of onnxruntime. A
    worker that is told to use a GPU and does not get it exits with 1."""
    gpu_memory: Annotated[int, Meta(ge=0)] = 0
    """MB of the GPU's memory that the model may take, since workers share a GPU; 0 sets no limit."""
    run_limit: Annotated[float, Meta(ge=0)] = 120.0
    """seconds that the model may take for one batch. A worker whose model takes longer is taken for hanging: it gives
    its work back and ends with 1, for whoever supervises it to start it anew. 0 waits for ever."""
