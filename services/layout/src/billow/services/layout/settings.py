"""What the layout service can be told through the environment."""

from billow.runtime.settings import ProcessSettings


class LayoutSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of the layout service, `BILLOW_<FIELD>`."""

    layout_model: str = "rules_1-0-0"
    layout_concurrency: int = 8
    """Documents in hand at once."""
    inference_wait: float = 20.0
    """seconds until a document frees its slot because no worker answers"""
    inference_retry_delay: float = 10.0
    """seconds until such a document is tried again"""
