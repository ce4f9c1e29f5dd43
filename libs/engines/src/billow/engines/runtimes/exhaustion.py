"""Telling "no memory left" from other failures of a framework, which have no class of their own for it."""

OUT_OF_MEMORY = "out_of_memory"
"""Code of the `EngineError`; a smaller batch may still run."""

_SAID = (
    "failed to allocate memory",  # onnxruntime's arena
    "bfcarena",
    "bad_alloc",  # C++
    "out of memory",  # CUDA, cuDNN
    "cuda_error_out_of_memory",
    "can not allocate",  # openvino
    "cannot allocate",
    "could not allocate",
    "resource exhausted",  # tensorflow
    "oom when allocating",
)


def ran_out(error: BaseException) -> bool:
    """Whether the framework failed for want of memory, told by what it says."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in said for phrase in _SAID)
