"""Turns between tenants and lanes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from billow.bus.fairness import FairQueue
from billow.bus.topology import LANES
from billow.schemas.labels import Lane

TENANTS = st.sampled_from(["a", "b", "c"])
COSTS = st.floats(min_value=0.1, max_value=1000)

Item = tuple[str, Lane, int]


def filled(*waiting: tuple[str, Lane, int]) -> FairQueue[Item]:
    queue: FairQueue[Item] = FairQueue()
    for tenant, lane, count in waiting:
        for n in range(count):
            queue.push((tenant, lane, n), tenant=tenant, lane=lane)
    return queue


def serve(queue: FairQueue[Item], ms: dict[str, float] | None = None) -> Item:
    """One turn, charged at once."""
    item = queue.pop()
    assert item is not None
    queue.charge(item[0], (ms or {}).get(item[0], 10), lane=item[1])
    return item


def test_an_empty_queue_has_no_next() -> None:
    queue: FairQueue[Item] = FairQueue()
    assert queue.pop() is None
    assert queue.pop_newcomer() is None
    assert (len(queue), queue.tenants(), queue.drain(), queue.shed(3)) == (0, [], [], [])


def test_a_single_document_goes_before_the_thousand_of_another_tenant() -> None:
    queue = filled(("a", "interactive", 1000))
    for _ in range(10):
        serve(queue)
    queue.push(("b", "interactive", 0), tenant="b", lane="interactive")
    assert serve(queue)[0] == "b"


def test_it_does_so_too_while_nothing_was_charged_yet() -> None:
    queue = filled(("a", "interactive", 1000))
    for _ in range(4):
        queue.pop()
    queue.push(("b", "interactive", 0), tenant="b", lane="interactive")
    assert queue.pop() == ("b", "interactive", 0)


def test_estimates_far_too_high_do_not_make_a_newcomer_wait() -> None:
    queue = filled(("a", "interactive", 1000))
    serve(queue, {"a": 10_000})
    for _ in range(8):
        queue.pop()
    for _ in range(8):
        queue.charge("a", 1)
    queue.push(("b", "interactive", 0), tenant="b", lane="interactive")
    assert "b" in {serve(queue, {"a": 1})[0] for _ in range(2)}


@given(costs=st.lists(COSTS, min_size=50, max_size=200), pair=st.tuples(COSTS, COSTS))
def test_two_tenants_that_always_wait_use_the_same_time(costs: list[float], pair: tuple[float, float]) -> None:
    """The bound of the paper, theorem 1, for one server: the largest cost of each."""
    queue = filled(("a", "bulk", 200), ("b", "bulk", 200))
    used = {"a": 0.0, "b": 0.0}
    largest = {"a": 0.0, "b": 0.0}
    for n, cost in enumerate(costs):
        item = queue.pop()
        assert item is not None
        tenant = item[0]
        ms = cost if n % 3 else pair[tenant == "b"]
        queue.charge(tenant, ms, lane="bulk")
        used[tenant] += ms
        largest[tenant] = max(largest[tenant], ms)
        # Those who have had no turn yet may be behind by what the first one cost.
        assert abs(used["a"] - used["b"]) <= largest["a"] + largest["b"] + 1e-6


def test_turns_follow_cost_not_count() -> None:
    queue = filled(("long", "interactive", 100), ("short", "interactive", 100))
    turns = Counter(serve(queue, {"long": 90, "short": 10})[0] for _ in range(50))
    assert 40 <= turns["short"] <= 48


def test_who_was_away_neither_saves_up_turns_nor_is_punished() -> None:
    queue = filled(("a", "interactive", 1), ("b", "interactive", 500))
    serve(queue)
    for _ in range(300):
        serve(queue)
    for n in range(100):
        queue.push(("a", "interactive", n), tenant="a", lane="interactive")
    turns = Counter(serve(queue)[0] for _ in range(40))
    assert 19 <= turns["a"] <= 21


def test_work_on_an_idle_system_is_not_held_against_anybody() -> None:
    queue: FairQueue[Item] = FairQueue()
    for n in range(300):
        queue.push(("a", "interactive", n), tenant="a", lane="interactive")
        serve(queue)
    for n in range(50):
        for tenant in ("a", "b"):
            queue.push((tenant, "interactive", n), tenant=tenant, lane="interactive")
    turns = Counter(serve(queue)[0] for _ in range(40))
    assert 19 <= turns["a"] <= 21


def test_interactive_goes_first_and_bulk_every_fourth_time() -> None:
    queue = filled(("a", "bulk", 100), ("b", "interactive", 30))
    assert [serve(queue)[1] for _ in range(8)] == [*["interactive"] * 3, "bulk"] * 2
    assert len([n for n in range(32) if serve(queue)[1] == "bulk"]) == 8
    assert serve(queue)[1] == "bulk"


def test_only_a_tenant_with_nothing_in_hand_is_a_newcomer() -> None:
    queue = filled(("a", "bulk", 3), ("b", "bulk", 2))
    first = queue.pop_newcomer()
    second = queue.pop_newcomer()
    assert first is not None
    assert second is not None
    assert {first[0], second[0]} == {"a", "b"}
    assert queue.pop_newcomer() is None
    assert queue.in_hand("a")
    queue.charge("a", 0)
    assert not queue.in_hand("a")
    assert queue.pop_newcomer() == ("a", "bulk", 1)


def test_what_is_shed_is_the_newest_of_the_longest_line_bulk_first() -> None:
    queue = filled(("a", "interactive", 5), ("b", "interactive", 2), ("c", "bulk", 1))
    assert queue.shed(4) == [("c", "bulk", 0), *(("a", "interactive", n) for n in (4, 3, 2))]
    assert len(queue) == 4
    assert len(queue.shed(10)) == 4
    assert queue.pop() is None
    queue.push(("a", "bulk", 9), tenant="a", lane="bulk")
    assert queue.pop() == ("a", "bulk", 9)


def test_a_charge_for_nothing_changes_nothing() -> None:
    queue = filled(("a", "interactive", 2), ("b", "interactive", 2))
    queue.charge("a", 1_000_000)
    queue.charge("nobody", 1_000_000)
    assert [serve(queue)[0] for _ in range(4)] == ["a", "b", "a", "b"]


def test_tenants_that_are_gone_are_forgotten() -> None:
    queue: FairQueue[Item] = FairQueue()
    for n in range(5_000):
        queue.push((f"t-{n}", "interactive", n), tenant=f"t-{n}", lane="interactive")
        serve(queue, {f"t-{n}": n % 7 + 1})
    assert len(queue._interactive.lines) < 100  # pyright: ignore[reportPrivateUsage]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["push", "pop", "newcomer", "shed", "charge"]), TENANTS, st.sampled_from(LANES), COSTS
        ),
        max_size=150,
    )
)
def test_whatever_happens_nothing_is_lost_doubled_or_taken_out_of_order(
    steps: list[tuple[str, str, Lane, float]],
) -> None:
    queue: FairQueue[Item] = FairQueue()
    waiting: dict[tuple[str, Lane], list[Item]] = {}
    for n, (step, tenant, lane, ms) in enumerate(steps):
        if step == "push":
            queue.push((tenant, lane, n), tenant=tenant, lane=lane)
            waiting.setdefault((tenant, lane), []).append((tenant, lane, n))
        elif step == "charge":
            queue.charge(tenant, ms)
        elif step == "shed":
            for item in queue.shed(2):
                assert waiting[item[:2]].pop() == item
        else:
            taken = queue.pop() if step == "pop" else queue.pop_newcomer()
            assert taken is not None or step == "newcomer" or not any(waiting.values())
            if taken is not None:
                assert waiting[taken[:2]].pop(0) == taken
        assert len(queue) == sum(map(len, waiting.values()))
        assert set(queue.tenants()) == {tenant for (tenant, _), items in waiting.items() if items}
    assert sorted(queue.drain()) == sorted(item for items in waiting.values() for item in items)
    assert len(queue) == 0
