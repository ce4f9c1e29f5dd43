"""The model as the worker sees it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .analysis import analyse
from .lexicon import Lexicon
from .page import read_rows

_LEXICON = Path(__file__).with_name("lexicon.toml")


class RulesModel:
    """Labels words by lexicon, patterns, geometry and arithmetic. Has no weights and learns nothing.

    Speaks the tensors of the task token-classification: `words`, `quads`, `page`, `line`, `page_size`, `kind` and
    `language` in; `labels`, `scores`, `groups`, `kind` and `language` out. The same input gives the same output.
    """

    device = "cpu"

    def __init__(self, manifest: object, folder: Path) -> None:
        """Read the lexicon: `lexicon.toml` in `folder` if there is one, else the package's own.

        Raises:
            OSError, tomllib.TOMLDecodeError: the lexicon cannot be read.
        """
        own = folder / "lexicon.toml"
        self._lexicon = Lexicon(own if own.is_file() else _LEXICON)
        self.metadata: Mapping[str, str] = {"languages": " ".join(self._lexicon.languages)}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Label one document."""
        words = [str(word) for word in inputs["words"].ravel()]
        count = len(words)
        kind, language = _text(inputs, "kind"), _text(inputs, "language")
        page_size = [(int(width), int(height)) for width, height in inputs["page_size"].reshape(-1, 2)]
        rows = read_rows(words, inputs["quads"].reshape(count, 8), inputs["page"], inputs["line"])
        reading = analyse(rows, count, page_size, self._lexicon, kind=kind, language=language)
        return {
            "labels": np.array(reading.board.labels, dtype=object),
            "scores": np.array(reading.board.scores, dtype=np.float32),
            "groups": np.array(reading.board.groups, dtype=np.int32),
            "kind": np.array([reading.kind], dtype=object),
            "language": np.array([reading.language], dtype=object),
        }

    def close(self) -> None:
        """Nothing to give back."""


def _text(inputs: Mapping[str, NDArray[Any]], name: str) -> str:
    return str(inputs[name].ravel()[0]) if name in inputs and inputs[name].size else ""
