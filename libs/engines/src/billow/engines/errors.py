"""What can go wrong between a model's folder and a loaded engine.

All of it is a `PermanentError`: starting again changes nothing until somebody edits a file, pulls or installs.
"""

from billow.runtime.errors import PermanentError, UsageError


class ManifestError(PermanentError):
    """A `manifest.toml` that cannot be used. The message names the file, the key and what is allowed there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="manifest_invalid")


class UnknownModelError(UsageError):
    """Somebody asked for a model that no folder holds; a command that meets it exits with 2."""


class AlphabetError(PermanentError):
    """A list of characters that cannot be used. The message names the file and the line, or the characters."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="alphabet_invalid")


class WeightsError(PermanentError):
    """The weights cannot be used.

    Codes: `weights_missing` (never pulled), `weights_mismatch` (other bytes than the manifest pins),
    `weights_unavailable` (the package index or the server gave nothing; `retryable`, since a network comes back).
    """


class EngineError(PermanentError):
    """A model that cannot be loaded or run.

    Codes: `runtime_missing` (an extra is not installed), `device_unavailable` (a GPU was asked for, and the runtime did
    not get one), `model_invalid` (the weights or the class are not what the runtime can run), `inference_failed` (this
    input cannot be run), `out_of_memory` (a smaller batch may still run).
    """
