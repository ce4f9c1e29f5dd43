import pytest

from benchmarks import bus_throughput
from benchmarks.bus_throughput import Answer, Rates


def rates(**seconds: list[float]) -> Rates:
    names = {"ours": "billow", "fetch": "nats-py", "by_hand": "nats-py by hand", "peer": "FastStream"}
    return Rates(
        messages=1000,
        of={names[side]: [Answer(seconds=s, cpu_seconds=s / 2) for s in each] for side, each in seconds.items()},
    )


MEASURED = rates(ours=[0.1, 0.2, 0.9], fetch=[0.4, 0.4, 0.4], by_hand=[0.1, 0.1, 0.3], peer=[1.0, 0.8, 0.1])


def test_the_table_compares_the_median_rounds() -> None:
    lines = bus_throughput.rate_table(MEASURED).splitlines()
    assert lines[2].split() == ["billow", "5,000", "1,111", "10,000", "100"]
    assert lines[3].split() == ["nats-py", "2,500", "2,500", "2,500", "200", "x", "2.00"]
    assert lines[4].split() == ["nats-py", "by", "hand", "10,000", "3,333", "10,000", "50", "x", "0.50"]
    assert lines[5].split() == ["FastStream", "1,250", "1,000", "10,000", "400", "x", "4.00"]


def test_the_faster_way_to_use_the_client_is_the_bar() -> None:
    options = bus_throughput.parse(["--min-bare", "0.6", "--min-faststream", "3"])
    bare, faststream = bus_throughput.bars_of(options, MEASURED)
    assert (bare.value, bare.met) == (pytest.approx(0.5), False)
    assert (faststream.value, faststream.met) == (pytest.approx(4.0), True)


def test_a_peer_that_did_not_run_meets_no_bar() -> None:
    options = bus_throughput.parse(["--min-faststream", "3"])
    (bar,) = bus_throughput.bars_of(options, rates(ours=[0.1]))
    assert not bar.met


SMALL = ["--no-peer", "--rounds", "1", "--messages", "300", "--concurrency", "50"]


def test_small_rounds_run_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert bus_throughput.main([*SMALL, "--min-bare", "0.0001"]) == 0
    out = capsys.readouterr().out
    assert [line.split("  ")[0] for line in out.splitlines()[2:5]] == ["billow", "nats-py", "nats-py by hand"]
    assert "met    rate over nats-py's" in out


def test_a_missed_bar_is_an_exit_code() -> None:
    assert bus_throughput.main([*SMALL, "--min-bare", "1000"]) == 1


def test_a_bar_for_a_peer_that_is_left_out_is_wrong_usage() -> None:
    with pytest.raises(SystemExit):
        bus_throughput.parse(["--no-peer", "--min-faststream", "3"])
