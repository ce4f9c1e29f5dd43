"""What a tenant may do, and how long we keep what is its: JSON in the key-value bucket `TENANTS`, key `<tenant>`.

A new field has a default; the recorded bytes in `schemas/golden/` must decode for ever.
"""

import math
from typing import Annotated

import msgspec
from msgspec import Meta


class TenantPolicy(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tenant.policy.v1"):
    """Limits of one tenant; None where it has none of its own. Use `check_policy` before you store one."""

    rate: Annotated[float, Meta(gt=0)] | None = None
    """Documents a second that all clients of the tenant together may submit in the long run."""
    burst: Annotated[int, Meta(ge=1)] | None = None
    """Documents that may come at once after a quiet while; without it as many as come in one second, at least one."""
    max_backlog: Annotated[int, Meta(ge=1)] | None = None
    """Documents of the tenant that may wait for the OCR service."""
    retention_s: Annotated[float, Meta(gt=0)] | None = None
    """seconds after which documents of the tenant are erased; None keeps them as long as the streams do."""

    def burst_or_default(self) -> int:
        """Documents at once."""
        return self.burst if self.burst is not None else max(1, math.ceil(self.rate or 1))


def check_policy(policy: TenantPolicy) -> None:
    """What the constructor does not check.

    Raises:
        ValueError: a limit that lets nothing through or is no number; the message says which.
    """
    for name, value in (("rate", policy.rate), ("retention", policy.retention_s)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"the {name} is {value:g}; it must be over 0")
    for name, count in (("burst", policy.burst), ("backlog", policy.max_backlog)):
        if count is not None and count < 1:
            raise ValueError(f"the {name} is {count}; it must be at least 1")
    if policy.burst is not None and policy.rate is None:
        raise ValueError("a burst says how many may come at once above a rate; give a rate too")
