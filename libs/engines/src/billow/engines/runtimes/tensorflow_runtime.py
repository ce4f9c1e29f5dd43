"""TensorFlow SavedModels, by one of their signatures, as TensorFlow Serving runs them."""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportMissingModuleSource=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# tensorflow has no types and is not installed for development; nothing untyped leaves this module.

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors
from billow.engines.runtimes.cores import available_cores
from billow.engines.runtimes.exhaustion import OUT_OF_MEMORY, ran_out


class TensorflowEngine:
    """One signature of a SavedModel. Inputs and outputs are named as in that signature.

    Threads, device and memory limit belong to the process: the first model that it loads decides.
    """

    def __init__(
        self,
        weights: Path,
        *,
        signature: str = "serving_default",
        threads: int | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
        gpu_memory: int | None = None,
    ) -> None:
        """Load the model.

        Args:
            weights: Already verified; the folder that holds `saved_model.pb`.
            signature: One of the model's.
            threads: CPU threads for one operator; as many as this process has cores if not given.
            device: `cuda` is the first GPU that this process sees.
            gpu_memory: MB of the GPU's memory for the model; it grows as needed if not given.

        Raises:
            EngineError: `model_invalid`: no SavedModel, or no such signature; `device_unavailable`: no GPU.
        """
        _configure(threads or available_cores(), device, gpu_memory)
        try:
            model = tf.saved_model.load(str(weights))
        except Exception as e:  # its errors share no base class but this
            raise EngineError(f"tensorflow cannot load {weights}: {e}", code="model_invalid") from e
        if signature not in model.signatures:
            raise EngineError(
                f"{weights} has no signature {signature!r} (there are: {', '.join(model.signatures) or 'none'}); "
                "correct `tensorflow.signature` in the manifest",
                code="model_invalid",
            )
        # The function does not keep its model alive, and dies with it.
        self._model: Any = model
        self._function: Any = model.signatures[signature]
        self._specs: dict[str, Any] = dict(self._function.structured_input_signature[1])
        self._device = "cuda:0" if device == "cuda" else "cpu"
        self._metadata = _metadata(weights)

    @property
    def device(self) -> str:
        """`cpu` or `cuda:0`."""
        return self._device

    @property
    def metadata(self) -> Mapping[str, str]:
        """The text files of the SavedModel's `assets.extra`, by name: `character.txt` is `character`."""
        return self._metadata

    @property
    def input_names(self) -> tuple[str, ...]:
        """As in the signature."""
        return tuple(self._specs)

    def run(self, inputs: Tensors) -> Tensors:
        """Compute every output of the signature.

        Raises:
            EngineError: `inference_failed`: a name, shape or type that the signature does not take, also after
                `close`; `out_of_memory`.
        """
        if self._function is None:
            raise EngineError("the engine is closed; load the model again", code="inference_failed")
        if inputs.keys() != self._specs.keys():
            raise EngineError(
                f"the model takes the inputs {', '.join(self._specs)}; given were {', '.join(inputs) or 'none'}",
                code="inference_failed",
            )
        try:
            tensors = {name: _tensor(name, array, self._specs[name]) for name, array in inputs.items()}
            outputs = self._function(**tensors)
            return {name: _array(output) for name, output in outputs.items()}
        except EngineError:
            raise
        except Exception as e:  # its errors share no base class but this
            code = OUT_OF_MEMORY if ran_out(e) else "inference_failed"
            raise EngineError(f"tensorflow cannot run the model: {e}", code=code) from e

    def close(self) -> None:
        """Drop the model. Safe to call twice."""
        self._function = self._model = None


def _configure(threads: int, device: str, gpu_memory: int | None) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    if device == "cuda" and not gpus:
        raise EngineError(
            "tensorflow finds no GPU. Check that `nvidia-smi` lists one here and that CUDA 12 is installed "
            "(`pip install 'billow-engines[tensorflow-gpu]'`), or start without BILLOW_DEVICE to use the processor",
            code="device_unavailable",
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
            return
        tf.config.set_visible_devices(gpus[:1], "GPU")
        if gpu_memory:
            # It counts in MiB.
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=gpu_memory * 1_000_000 // (1 << 20))
            tf.config.set_logical_device_configuration(gpus[0], [limit])
        else:
            tf.config.experimental.set_memory_growth(gpus[0], True)
    except RuntimeError:
        # Another model of this process has started TensorFlow; its choice stands unless it left us without a GPU.
        if device == "cuda" and not tf.config.list_logical_devices("GPU"):
            raise EngineError(
                "this process already runs tensorflow on the processor; load the model in a process of its own",
                code="device_unavailable",
            ) from None


def _tensor(name: str, array: NDArray[Any], spec: Any) -> Any:
    """Of exactly the signature's type and shape: TensorFlow itself checks neither before it computes."""
    tensor = tf.constant(array.astype(object) if array.dtype.kind == "U" else array)
    if tensor.dtype != spec.dtype:
        raise EngineError(f"input {name} must be {spec.dtype.name}, not {array.dtype}", code="inference_failed")
    if not spec.shape.is_compatible_with(tensor.shape):
        raise EngineError(f"input {name} must be {spec.shape}, not {array.shape}", code="inference_failed")
    return tensor


def _array(output: Any) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(output.numpy())
    if output.dtype != tf.string:
        return array
    texts = [text.decode() for text in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _metadata(weights: Path) -> dict[str, str]:
    files = sorted((weights / "assets.extra").glob("*.txt"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}
