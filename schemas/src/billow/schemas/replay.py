"""What is kept about a replay: what was asked for, how far it is, and what came of it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from billow.schemas.events import Instant
from billow.schemas.labels import Kind
from billow.schemas.tokens import Token

Start = Literal["submitted", "recognized"]
"""The event that a replay sends again; from `recognized` on nothing is read anew."""
Into = Literal["run", "record"]
"""`record`: what completes is promoted at the end."""
Status = Literal["running", "paused", "cancelled", "finished"]
Order = Literal["run", "pause", "cancel"]
Verdict = Literal["appeared", "vanished", "changed"]


class ReplaySpec(Struct, frozen=True, kw_only=True):
    """What a replay is to send again, and how. Never changed once the run has begun."""

    run_id: Token
    start: Start
    until: Instant
    """By the time at which the server stored the event; fixed at the start, so that a resumed run chooses the same."""
    since: Instant | None = None
    tenant: Token | None = None
    """None: all."""
    kind: Kind | None = None
    documents: tuple[Token, ...] = ()
    """Only these; empty for all."""
    models: dict[str, Token] = {}
    """Task -> model token, in place of what the routes say."""
    into: Into = "run"
    rate: Annotated[float, Meta(ge=0)] = 0.0
    """documents/s at most; 0 for as fast as they are done."""
    in_flight: Annotated[int, Meta(ge=1)] = 1_000
    """Documents at most that are sent and have no outcome yet."""
    price_per_hour: Annotated[float, Meta(ge=0)] = 0.0
    """Of one hour of model time."""
    created_at: Instant
    created_by: str = ""


class ReplayOrder(Struct, frozen=True, kw_only=True):
    """What the driver of a run is to do."""

    order: Order = "run"


class ReplayState(Struct, frozen=True, kw_only=True):
    """How far a replay is. Written by its driver about once a second."""

    status: Status
    updated_at: Instant
    driver: str = ""
    """Who drives it; whoever resumes it takes it over."""
    planned: int = 0
    """Documents that were chosen."""
    sent: int = 0
    """Documents of which the event lies in `RUNS`."""
    completed: int = 0
    failed: int = 0
    refused: int = 0
    """Documents that the server would not take, e.g. as they grew too large."""
    unanswered: int = 0
    """Documents that were sent, and of which nobody said the outcome although nothing is under way any more."""
    left_out: dict[str, int] = {}
    """Reason -> documents that were in the range and not chosen."""
    cursor: int = 0
    """Sequence in `DOCUMENTS` up to which everything chosen is sent."""
    active_s: float = 0.0
    """seconds from the first event sent to the last outcome, pauses left out."""


class Example(Struct, frozen=True, kw_only=True):
    """One result that is not what it was."""

    tenant: str
    document_id: str
    before: str
    """Empty where there was none."""
    after: str
    """Empty where there is none any more."""


class Changes(Struct, frozen=True, kw_only=True):
    """How one field fared over all documents."""

    appeared: int = 0
    vanished: int = 0
    changed: int = 0
    same: int = 0
    """Neither of the documents where it was absent and still is."""
    examples: dict[Verdict, tuple[Example, ...]] = {}


class Accuracy(Struct, frozen=True, kw_only=True):
    """How often a field was right, of the documents of which the truth is known."""

    known: int = 0
    before: int = 0
    after: int = 0


class TaskTime(Struct, frozen=True, kw_only=True):
    """Model time of one task, summed over the documents of which both records have it."""

    documents: int = 0
    before_s: float = 0.0
    after_s: float = 0.0


class ReplayReport(Struct, frozen=True, kw_only=True):
    """What came of a replay, beside the official records at the time of comparison."""

    run_id: Token
    start: Start
    models: dict[str, str] = {}
    compared: int = 0
    """Documents with an outcome in the run."""
    completed: int = 0
    failed: int = 0
    new: int = 0
    """Of them without an official record."""
    unanswered: int = 0
    fields: dict[str, Changes] = {}
    """By the names of `FIELD_NAMES`, then `items`, `taxes`, `status` and `straight_through`. The last counts as there
    where it is true."""
    accuracy: dict[str, Accuracy] = {}
    """Only of fields that the ground truth names."""
    task_time: dict[str, TaskTime] = {}
    active_s: float = 0.0
    documents_per_s: float = 0.0
    model_s: float = 0.0
    """seconds of models that the run itself cost."""
    cost: float = 0.0
    """`model_s` at the price that was given."""
    price_per_hour: float = 0.0
    compared_at: Instant
    comparison_s: float = 0.0


class PromotionState(Struct, frozen=True, kw_only=True):
    """How often a run was made official and taken back, which gives each time its name."""

    generation: int = 0
    undone: bool = True
    updated_at: Instant


class PromotionResult(Struct, frozen=True, kw_only=True):
    """What promoting a run, or taking that back, has done."""

    promotion: str
    stated: int = 0
    """Events that are new."""
    known: int = 0
    """Documents of which this was stated before."""
    failed: int = 0
    """Documents without a completed record in the run; their records stay."""
    left: tuple[str, ...] = ()
    """`<tenant>/<document>: reason` of those that were not taken back, at most 1,000."""
    left_count: int = 0
