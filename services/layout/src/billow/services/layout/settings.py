"""What the layout service can be told through the environment."""

from typing import Annotated

from msgspec import Meta

from billow.bus.consume import LOOKAHEAD
from billow.runtime.settings import ProcessSettings


class LayoutSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of the layout service, `BILLOW_<FIELD>`."""

    layout_model: str = "rules_1-0-0"
    """Where no route says otherwise; `billow models route`."""
    layout_concurrency: int = 8
    """Documents in hand at once, but for one of a tenant that has none."""
    layout_run_concurrency: Annotated[int, Meta(ge=1)] = 32
    """Documents of replays in hand at once, beside the others; their work for models is of the bulk lane."""
    layout_lookahead: Annotated[int, Meta(ge=0)] = LOOKAHEAD
    """Events held at most to find whose turn it is, by tenant and lane; 0 takes them in the order of the stream."""
    inference_wait: float = 20.0
    """seconds until a document frees its slot because no worker answers"""
    inference_retry_delay: float = 10.0
    """seconds until such a document is tried again"""
