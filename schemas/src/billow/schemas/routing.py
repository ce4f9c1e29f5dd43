"""Which model does a task: routes, kept as JSON in the key-value bucket `ROUTES`, and what shadows made of the same.

A new field has a default; the recorded bytes in `schemas/golden/` must decode for ever.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from billow.schemas.events import Instant
from billow.schemas.inference import Output
from billow.schemas.labels import Kind, Task
from billow.schemas.record import Failure
from billow.schemas.tokens import Token

Share = Annotated[float, Meta(ge=0, le=1)]
"""Part of the documents, 0..1."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Documents that fit all that is given here get `model`, whatever the weights say."""

    model: Token
    tenant: Token | None = None
    kind: Kind | None = None
    language: Annotated[str, Meta(min_length=2, max_length=35)] | None = None
    """As the event says it, ISO 639-1."""


class Route(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="route.v1"):
    """How the documents of one task find their model. Use `check_route` before you store one."""

    task: Task
    default: Token
    """Model for all that no rule and no weight takes elsewhere."""
    weights: dict[Token, Share] = {}
    """Canaries: model -> share of the documents; `default` has the rest. Their order matters, see `choose`."""
    shadows: tuple[Token, ...] = ()
    """Models that get the same work, without anyone waiting for them."""
    fallback: Token | None = None
    """Model that is asked too when the chosen one does not answer in time."""
    fallback_after: Annotated[float, Meta(gt=0)] = 5.0
    """seconds"""
    rules: tuple[Rule, ...] = ()
    """The first that fits wins."""
    changed_at: Instant
    changed_by: str = ""
    """`user@host`"""
    note: str = ""
    """Why, for people."""

    def models(self) -> tuple[str, ...]:
        """All models that it names, each once."""
        named = (self.default, *self.weights, *(rule.model for rule in self.rules), *self.shadows, self.fallback)
        return tuple(dict.fromkeys(model for model in named if model is not None))


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a route says about one document."""

    model: str
    shadows: tuple[str, ...] = ()
    fallback: str | None = None
    fallback_after: float = 0.0
    """seconds"""


class Comparison(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="shadow.comparison.v1"):
    """One piece of work, done by the model that was used and by a shadow. JSON on `SHADOWS`."""

    tenant: Token
    document_id: Token
    revision: int = 1
    run_id: Token | None = None
    task: Task
    model: Token
    """The one whose answer was used."""
    shadow: Token
    occurred_at: Instant
    agreement: float | None = None
    """0..1: text-detection F1 of quads matched at IoU >= 0.5; text-recognition share of equal texts;
    token-classification share of equal labels. None where the shadow failed."""
    similarity: float | None = None
    """0..1, text-recognition: mean likeness of the texts, character by character."""
    run_ms: float = 0.0
    """Inside the engine of the model that was used, ms."""
    shadow_run_ms: float = 0.0
    output: Output | None = None
    """The shadow's."""
    error: Failure | None = None
    """Why the shadow has no output."""


def position(document_id: str) -> float:
    """Where a document stands between 0 and 1, for ever and for every task.

    The same for all tasks, so that the canaries of several tasks meet on the same documents.
    """
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def choose(route: Route, *, tenant: str, document_id: str, kind: str | None, language: str | None) -> Choice:
    """The model for a document. Pure: the same route and document give the same model, on every machine.

    A rule that fits wins. Else the canaries take the documents from position 0 up, one after the other in the order
    of `weights`. So more share never takes a document away from its model, and with one canary documents move only
    from the default to it.
    """
    model = _ruled(route, tenant, kind, language) or _weighted(route, document_id)
    return Choice(
        model=model,
        shadows=tuple(shadow for shadow in route.shadows if shadow != model),
        fallback=route.fallback if route.fallback != model else None,
        fallback_after=route.fallback_after,
    )


def _ruled(route: Route, tenant: str, kind: str | None, language: str | None) -> str | None:
    for rule in route.rules:
        wanted = ((rule.tenant, tenant), (rule.kind, kind), (rule.language, language))
        if all(want is None or want == have for want, have in wanted):
            return rule.model
    return None


def _weighted(route: Route, document_id: str) -> str:
    place, upper = position(document_id), 0.0
    for model, share in route.weights.items():
        upper += share
        if place < upper:
            return model
    return route.default


def check_route(route: Route) -> None:
    """What the types cannot say.

    Raises:
        ValueError: shares over 1, a model where it makes no sense, or a rule that can never or always apply; the
            message says which.
    """
    for model, share in route.weights.items():
        if not 0 <= share <= 1:
            raise ValueError(f"the share of {model} is {share:g}; it must be between 0 and 1")
    total = sum(route.weights.values())
    if total > 1 + 1e-9:
        raise ValueError(f"the shares add up to {total:g}; all together they must not exceed 1")
    if route.default in route.weights:
        raise ValueError(f"{route.default} is the default and has what the others leave; give shares to the others")
    if route.default in route.shadows:
        raise ValueError(f"{route.default} is the default; a shadow must be another model")
    if len(set(route.shadows)) != len(route.shadows):
        raise ValueError("a shadow is named twice")
    if route.fallback == route.default and not route.weights and not route.rules:
        raise ValueError(f"{route.default} is the default; the fallback must be another model")
    if route.fallback_after <= 0:
        raise ValueError("the time until the fallback is asked must be over 0 seconds")
    for rule in route.rules:
        if rule.tenant is None and rule.kind is None and rule.language is None:
            raise ValueError(f"the rule for {rule.model} names no tenant, kind or language; make it the default")
