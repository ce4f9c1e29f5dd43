"""Which model a document gets."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.schemas.labels import Kind
from billow.schemas.routing import Choice, Route, Rule, check_route, choose, position
from billow.testkit.events import MOMENT

ROUTE = Route(task="text-recognition", default="old_1-0-0", changed_at=MOMENT)
NAMES = [f"doc-{n}" for n in range(4000)]


def route(**changes: object) -> Route:
    return msgspec.structs.replace(ROUTE, **changes)


def model(
    of: Route, name: str = "doc-1", *, tenant: str = "acme", kind: Kind | None = None, language: str | None = None
) -> str:
    return choose(of, tenant=tenant, document_id=name, kind=kind, language=language).model


def test_without_weights_and_rules_all_go_to_the_default() -> None:
    assert {model(ROUTE, name) for name in NAMES} == {"old_1-0-0"}


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_canary_gets_its_share_of_the_documents(share: float) -> None:
    canary = route(weights={"new_2-0-0": share})
    found = sum(model(canary, name) == "new_2-0-0" for name in NAMES) / len(NAMES)
    assert abs(found - share) < 0.03


def test_a_share_of_nothing_gets_nothing_and_one_of_all_gets_all() -> None:
    assert all(model(route(weights={"new_2-0-0": 0.0}), name) == "old_1-0-0" for name in NAMES)
    assert all(model(route(weights={"new_2-0-0": 1.0}), name) == "new_2-0-0" for name in NAMES)


shares = st.floats(0, 1)
document = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64)


@given(document, shares, shares)
def test_more_share_moves_documents_only_towards_the_canary(name: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    if model(route(weights={"new_2-0-0": less}), name) == "new_2-0-0":
        assert model(route(weights={"new_2-0-0": more}), name) == "new_2-0-0"


@given(document, st.lists(st.floats(0, 0.3), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 0.1))
def test_of_several_canaries_none_loses_a_document_when_its_share_grows(
    name: str, parts: list[float], which: int, more: float
) -> None:
    weights = {f"new_{n}-0-0": share for n, share in enumerate(parts)}
    grown = {**weights, f"new_{which}-0-0": parts[which] + more}
    before = model(route(weights=weights), name)
    if before == f"new_{which}-0-0":
        assert model(route(weights=grown), name) == before


@given(document, st.sampled_from(["text-detection", "text-recognition", "token-classification"]), shares)
def test_a_document_is_on_the_same_side_for_every_task(name: str, task: str, share: float) -> None:
    weights = {"new_2-0-0": share}
    assert model(route(task=task, weights=weights), name) == model(route(weights=weights), name)


def test_the_position_of_a_document_never_changes() -> None:
    assert position("doc-1") == pytest.approx(0.339667926, abs=1e-8)


def test_the_first_rule_that_fits_wins_over_the_weights() -> None:
    ruled = route(
        weights={"new_2-0-0": 1.0},
        rules=(
            Rule(model="acme-vi_1-0-0", tenant="acme", language="vi"),
            Rule(model="vi_1-0-0", language="vi"),
            Rule(model="invoices_1-0-0", kind="invoice"),
        ),
    )
    assert model(ruled, language="vi") == "acme-vi_1-0-0"
    assert model(ruled, language="vi", tenant="other") == "vi_1-0-0"
    assert model(ruled, kind="invoice") == "invoices_1-0-0"
    assert model(ruled, kind="receipt", language="en") == "new_2-0-0"
    assert model(ruled) == "new_2-0-0"


def test_nobody_shadows_or_replaces_itself() -> None:
    ruled = route(
        weights={"new_2-0-0": 1.0}, shadows=("new_2-0-0", "third_1-0-0"), fallback="new_2-0-0", fallback_after=2.0
    )
    assert choose(ruled, tenant="t", document_id="d", kind=None, language=None) == Choice(
        model="new_2-0-0", shadows=("third_1-0-0",), fallback=None, fallback_after=2.0
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": {"a_1-0-0": 0.6, "b_1-0-0": 0.5}}, "add up to 1.1"),
        ({"weights": {"a_1-0-0": 1.5}}, "between 0 and 1"),
        ({"weights": {"old_1-0-0": 0.5}}, "is the default"),
        ({"shadows": ("old_1-0-0",)}, "shadow must be another"),
        ({"shadows": ("a_1-0-0", "a_1-0-0")}, "twice"),
        ({"fallback": "old_1-0-0"}, "fallback must be another"),
        ({"fallback_after": 0.0}, "over 0 seconds"),
        ({"rules": (Rule(model="a_1-0-0"),)}, "names no tenant"),
    ],
)
def test_routes_that_make_no_sense_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_route(route(**changes))


def test_the_default_may_stand_in_for_a_canary() -> None:
    check_route(route(weights={"new_2-0-0": 0.5}, fallback="old_1-0-0"))
