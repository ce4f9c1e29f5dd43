"""Settings from the environment."""

import pytest

from billow.runtime.errors import UsageError
from billow.runtime.settings import ProcessSettings, load


class Sample(ProcessSettings, frozen=True, kw_only=True):
    count: int = 3
    ratio: float = 0.5
    on: bool = False


def test_what_is_not_set_keeps_its_default() -> None:
    assert load(Sample, environ={}) == Sample()


def test_values_are_read_as_their_types() -> None:
    environ = {"BILLOW_COUNT": "7", "BILLOW_RATIO": "0.25", "BILLOW_ON": "true", "BILLOW_NATS_URL": "nats://a,nats://b"}
    assert load(Sample, environ=environ) == Sample(count=7, ratio=0.25, on=True, nats_url="nats://a,nats://b")


def test_the_command_line_wins() -> None:
    assert load(Sample, environ={"BILLOW_COUNT": "7"}, overrides={"count": "8"}).count == 8


@pytest.mark.parametrize(("name", "value"), [("BILLOW_COUNT", "many"), ("BILLOW_ON", "perhaps")])
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        load(Sample, environ={name: value})
