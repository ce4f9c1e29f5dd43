"""What every model runtime looks like from outside."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
"""Named arrays. Text travels as arrays of `str` (dtype `object` or `U`)."""


class Engine(Protocol):
    """One loaded model.

    `run` is synchronous and is called from one thread at a time; whoever calls it keeps it off the event loop. An
    engine with a method `spread()` may be called from as many threads as that returns.
    """

    @property
    def device(self) -> str:
        """Where it really runs, e.g. `cpu` or `cuda:0`."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the weights file says of itself, e.g. a recogniser's `character` list; empty if nothing."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """Compute every output. Inputs and outputs are named as in the manifest or the weights file."""
        ...

    def close(self) -> None:
        """Give back what the model holds. Safe to call twice."""
        ...
