"""One document is one trace."""

from contextvars import copy_context

import pytest

from billow.runtime import trace

INCOMING = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_goes_on_with_a_new_span() -> None:
    trace.adopt(INCOMING)
    version, trace_id, span, flags = trace.child().split("-")
    assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert span != "00f067aa0ba902b7"


@pytest.mark.parametrize("bad", [None, "", "nonsense", INCOMING + "\n", INCOMING.replace("4bf", "XYZ")])
def test_a_malformed_one_starts_a_new_trace_that_lasts(bad: str | None) -> None:
    trace.adopt(bad)
    one, two = trace.child().split("-"), trace.child().split("-")
    assert one[1] == two[1] != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert one[2] != two[2]


def test_traces_of_two_tasks_do_not_mix() -> None:
    trace.adopt(INCOMING)
    copy_context().run(trace.adopt, None)
    assert trace.child().split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
