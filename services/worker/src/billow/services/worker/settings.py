"""What a worker can be told through the environment."""

from billow.runtime.settings import ProcessSettings


class WorkerSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of a worker, `BILLOW_<FIELD>`."""

    model: str = ""
    """Name or token of the model to serve; the command line wins."""
    threads: int = 0
    """CPU threads of the model; 0 takes all cores."""
