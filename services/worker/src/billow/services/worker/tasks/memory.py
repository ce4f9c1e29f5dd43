"""When a model needs more memory than there is."""

from billow.engines.errors import EngineError
from billow.schemas.record import Failure

OUT_OF_MEMORY = "out_of_memory"


def out_of_memory(error: EngineError | MemoryError) -> bool:
    """Whether less work at once may succeed where this failed."""
    return isinstance(error, MemoryError) or error.code == OUT_OF_MEMORY


def too_large(what: str) -> Failure:
    """The answer for one item that does not even fit alone; another worker, or the same one later, may have room."""
    return Failure(
        code=OUT_OF_MEMORY,
        message=f"The model ran out of memory on a single {what}. Give its worker more memory, or stop others on its "
        "machine, and submit the document again.",
        retryable=True,
        stage="worker",
    )
