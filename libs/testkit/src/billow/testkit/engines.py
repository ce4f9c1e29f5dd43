"""An engine without a model."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]


def echo(inputs: Tensors) -> Tensors:
    """Answer with what was asked."""
    return inputs


class FakeEngine:
    """Answers with `answer(inputs)`: the same inputs always give the same outputs.

    It blocks its thread for `delay` seconds a run, as a model would, and raises as `answer` raises.
    """

    def __init__(
        self,
        answer: Callable[[Tensors], Tensors] = echo,
        *,
        delay: float = 0.0,
        device: str = "cpu",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._answer = answer
        self._delay = delay
        self._device = device
        self._metadata = dict(metadata or {})
        self.seen: list[Tensors] = []
        """The inputs of every run, in order."""
        self.closed = False

    @property
    def device(self) -> str:
        return self._device

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    def run(self, inputs: Tensors) -> Tensors:
        if self.closed:
            raise RuntimeError("the engine is closed")
        self.seen.append(inputs)
        if self._delay:
            time.sleep(self._delay)
        return self._answer(inputs)

    def close(self) -> None:
        self.closed = True
