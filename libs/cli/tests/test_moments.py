from datetime import UTC, datetime

import pytest

from billow.cli.moments import moment, rate, rate_text, span, span_text
from billow.runtime.errors import UsageError

NOW = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2d", "2026-03-12T12:30:00+00:00"),
        ("1.5h", "2026-03-14T11:00:00+00:00"),
        ("1w", "2026-03-07T12:30:00+00:00"),
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T10:00:00+02:00", "2026-03-01T10:00:00+02:00"),
        ("2026-03-01T10:00Z", "2026-03-01T10:00:00+00:00"),
    ],
)
def test_a_moment_is_so_long_ago_or_a_date(text: str, iso: str) -> None:
    assert moment(text, "--since", NOW).isoformat() == iso


@pytest.mark.parametrize("text", ["yesterday", "2y", "-2d", ""])
def test_what_is_no_moment_names_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--until"):
        moment(text, "--until", NOW)


@pytest.mark.parametrize("text", ["999999d", "99999999999w"])
def test_longer_ago_than_there_are_dates_names_its_option(text: str) -> None:
    with pytest.raises(UsageError, match=f"--since {text}"):
        moment(text, "--since", NOW)


def test_a_rate_is_per_second_unless_it_says_otherwise() -> None:
    assert [rate("20"), rate("20/s"), rate("600/m"), rate("600/min"), rate("1800/h")] == [20, 20, 10, 10, 0.5]
    for text in ("fast", "0/s", "3/w", "-1"):
        with pytest.raises(UsageError, match="--rate"):
            rate(text)


@pytest.mark.parametrize("text", ["1.5/s", "5/m", "12/h", "8/d"])
def test_a_rate_is_shown_as_it_was_written(text: str) -> None:
    assert rate_text(rate(text)) == text


@pytest.mark.parametrize("text", ["8w", "30d", "12h", "90m", "45s"])
def test_a_span_is_shown_as_it_was_written(text: str) -> None:
    assert span_text(span(text, "--keep")) == text


def test_what_is_no_span_names_its_option() -> None:
    with pytest.raises(UsageError, match="--keep"):
        span("long", "--keep")
