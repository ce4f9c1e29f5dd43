"""From a model's name to a model that runs."""

from typing import TypeVar

import msgspec

from billow.engines.alphabet import listed_characters
from billow.engines.catalog import Catalog
from billow.engines.load import load_engine
from billow.engines.manifest import Limits, Manifest
from billow.engines.protocol import Engine
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import verify
from billow.runtime.errors import PermanentError, UsageError
from billow.schemas.labels import Task
from billow.services.worker.settings import WorkerSettings
from billow.services.worker.tasks.limited import Limited
from billow.services.worker.tasks.protocol import TaskModel

P = TypeVar("P", bound=msgspec.Struct)

_ITEMS_AT_ONCE: dict[Task, int] = {"text-detection": 1, "text-recognition": 64, "token-classification": 8}
"""Items in one turn of the model, by task. A page is one big array already. The crops of several documents are sorted
by width together, and the runtime gets them in batches of the manifest's size."""


def items_at_once(manifest: Manifest) -> int:
    """Pages, crops or documents at which a worker takes no more requests into a batch."""
    return max(_ITEMS_AT_ONCE[manifest.task], manifest.batching.max_batch)


def find_model(name: str) -> Manifest:
    """The manifest of a model. Raises UsageError for a name that nobody knows."""
    if not name:
        raise UsageError("Which model? Name one: `billow worker MODEL`; `billow models list` shows them.")
    return Catalog(model_folders()).get(name)


def load_model(manifest: Manifest, settings: WorkerSettings) -> tuple[TaskModel, Engine]:
    """Verify the weights, load them, and dress the engine for its task; blocks for as long as that takes.

    Raises:
        UsageError: the manifest does not list the runtime that the settings force.
        PermanentError: weights missing or not what the manifest says, runtime missing, no GPU where one was asked for,
            or a bad model.
    """
    weights = verify(manifest, model_cache())
    threads = settings.threads or None
    if manifest.runtimes == ("python",):
        # One environment serves all workers of a machine, and `rules` must start beside those that use its GPU.
        engine = load_engine(manifest, weights, threads=threads)
    else:
        engine = load_engine(
            manifest,
            weights,
            threads=threads,
            device=settings.device,
            runtime=settings.runtime or None,
            gpu_memory=settings.gpu_memory or None,
        )
    return dress(manifest, engine), engine


def dress(manifest: Manifest, engine: Engine) -> TaskModel:
    """The engine behind the adapter of its task, within the limits of the manifest.

    Raises:
        PermanentError: `invalid_parameters`, `alphabet_invalid`, or what the adapter misses in the model.
    """
    model = _adapter(manifest, engine)
    return model if manifest.limits == Limits() else Limited(model, manifest.limits)


def _adapter(manifest: Manifest, engine: Engine) -> TaskModel:
    # Imported by need: a worker of `rules` never loads OpenCV.
    match manifest.task:
        case "text-detection":
            from billow.services.worker.tasks.detection import TextDetection
            from billow.vision.detection import DetectionParameters

            return TextDetection(engine, _parameters(manifest, DetectionParameters))
        case "text-recognition":
            from billow.services.worker.tasks.recognition import TextRecognition
            from billow.vision.recognition import Alphabet, RecognitionParameters

            parameters = _parameters(manifest, RecognitionParameters)
            parameters = msgspec.structs.replace(parameters, max_batch=manifest.batching.max_batch)
            listed = listed_characters(manifest)
            return TextRecognition(engine, parameters, Alphabet.parse(listed) if listed is not None else None)
        case "token-classification":
            from billow.services.worker.tasks.classification import TokenClassification

            return TokenClassification(engine, manifest.parameters)


def _parameters(manifest: Manifest, type_: type[P]) -> P:
    try:
        return msgspec.convert(manifest.parameters, type_)
    except msgspec.ValidationError as e:
        raise PermanentError(
            f"[parameters] in the manifest of {manifest.token}: {e}. Known are: "
            f"{', '.join(field.name for field in msgspec.structs.fields(type_))}.",
            code="invalid_parameters",
        ) from e
