"""What a user calls a model, and what the subjects call it."""

import re
from collections.abc import Sequence

from billow.engines.catalog import Catalog
from billow.engines.errors import UnknownModelError
from billow.engines.settings import model_folders
from billow.runtime.errors import UsageError
from billow.schemas.labels import Task
from billow.schemas.presence import ModelPresence

_VERSIONED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*_[0-9]+-[0-9]+-[0-9]+")


class Names:
    """Turns names of models into tokens."""

    def __init__(self, task: Task, workers: Sequence[ModelPresence]) -> None:
        self._task = task
        self._workers = workers
        try:
            self._catalog = Catalog(model_folders())
        except UsageError:
            self._catalog = None

    def token(self, name: str) -> str:
        """The newest version of a name; a token stays as it is.

        Raises:
            UsageError: a name that no folder here holds, or a model for another task.
        """
        try:
            if self._catalog is not None:
                model = self._catalog.get(name)
                self._check_task(model.token, model.task)
                return model.token
        except UnknownModelError as e:
            if _VERSIONED.fullmatch(name) is None:
                raise UsageError(
                    f"{e}. A model that only other machines have is named with its version, x_1-0-0."
                ) from e
        if _VERSIONED.fullmatch(name) is None:
            raise UsageError(f"{name!r} has no version, and no folder with models is here. Name it as x_1-0-0.")
        for worker in self._workers:
            if worker.model == name:
                self._check_task(name, worker.task)
        return name

    def _check_task(self, token: str, task: str) -> None:
        if task != self._task:
            raise UsageError(f"{token} is a model for {task}, not for {self._task}.")
