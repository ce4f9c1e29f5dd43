import asyncio
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import serving
from benchmarks.crops import write_crops
from benchmarks.extraction import RunError
from benchmarks.load import Load, Order, make_load
from benchmarks.peer_servers import PEERS, PeerServer, peers_of
from benchmarks.recogniser import Settings
from benchmarks.serving import Contender, Side
from benchmarks.side_process import SideProcess
from billow.testkit.ports import free_port

HERE = Path(__file__).resolve().parent


def load(items: int, latencies_ms: list[float]) -> Load:
    return Load(items=items, seconds=2.0, cpu_seconds=0.5, latencies_ms=latencies_ms, errors=0, reason="")


OURS = Side(
    name="billow",
    texts=["a", "b"],
    loads=[load(200, [10.0, 20.0]), load(240, [30.0]), load(20, [40.0])],
    cpu=[2.0, 2.4, 0.2],
)
SLOW = Side(name="LitServe", texts=["a", "b"], loads=[load(100, [20.0, 80.0])], cpu=[4.0])
QUICK = Side(name="BentoML", texts=["a", "c"], loads=[load(160, [10.0, 60.0])], cpu=[0.8])


def test_the_table_tells_rates_percentiles_and_texts() -> None:
    lines = serving.serving_table([OURS, SLOW, QUICK]).splitlines()
    assert lines[2].split() == ["billow", "100.0", "30", "40", "10.0", "2", "of", "2"]
    assert lines[3].split() == ["LitServe", "50.0", "80", "80", "40.0", "2", "of", "2", "x", "2.00", "x", "0.50"]
    assert lines[4].split() == ["BentoML", "80.0", "60", "60", "5.0", "1", "of", "2", "x", "1.25", "x", "0.67"]


def test_the_bars_are_against_the_best_peer() -> None:
    options = serving.parse(["--min-ratio", "1.3", "--min-p99-ratio", "1.5"])
    rate, p99 = serving.bars_of(options, [OURS, SLOW, QUICK])
    assert (rate.value, rate.met) == (pytest.approx(1.25), False)
    assert (p99.value, p99.met) == (pytest.approx(1.5), True)


async def test_sides_are_measured_in_turns() -> None:
    command = [sys.executable, str(HERE / "fake_callers.py")]
    options = serving.parse(["--rounds", "2", "--seconds", "1", "--warm-up", "0"])
    async with SideProcess("billow", command) as ours, SideProcess("LitServe", command) as peer:
        contenders = [Contender(callers=callers, servers=[]) for callers in (ours, peer)]
        sides = await serving.measure(contenders, options)
    assert [(side.name, side.rate, side.percentile(0.99)) for side in sides] == [
        ("billow", 10.0, 100.0),
        ("LitServe", 10.0, 100.0),
    ]
    assert sides[1].texts == ["Qty", "TOTAL"]


async def test_a_side_that_fails_a_caller_has_no_rate() -> None:
    options = serving.parse(["--callers", "13", "--seconds", "0.1", "--warm-up", "0"])
    async with SideProcess("LitServe", [sys.executable, str(HERE / "fake_callers.py")]) as peer:
        with pytest.raises(RunError, match="LitServe did not answer a caller: unlucky"):
            await serving.measure([Contender(callers=peer, servers=[])], options)


async def test_a_side_that_ends_tells_its_last_words() -> None:
    async with SideProcess("LitServe", [sys.executable, "-c", "raise SystemExit('no model')"]) as peer:
        with pytest.raises(RunError, match=r"(?s)LitServe did not answer as agreed.*no model"):
            await serving.measure([Contender(callers=peer, servers=[])], serving.parse([]))


def settings() -> Settings:
    return Settings(weights="", engine="openvino", threads=1, port=free_port(), max_batch=8, max_wait_ms=2.0)


async def test_a_peer_is_up_when_it_answers_and_gone_afterwards() -> None:
    server = PeerServer(PEERS["litserve"], settings(), (sys.executable, str(HERE / "fake_peer_server.py")))
    async with server:
        request = urllib.request.Request(server.url, data=b'{"image": "AAAA"}')
        assert await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).read()) == b'{"text": "3"}'
    with pytest.raises(OSError):
        await asyncio.to_thread(urllib.request.urlopen, request)


async def test_a_peer_that_does_not_come_up_tells_why() -> None:
    with pytest.raises(RunError, match=r"(?s)LitServe did not come up.*no such model"):
        async with PeerServer(PEERS["litserve"], settings(), (sys.executable, "-c", "exit('no such model')")):
            pass


def test_unknown_peers_are_named() -> None:
    with pytest.raises(RunError, match="'torch'"):
        peers_of("litserve,torch")


async def test_callers_ask_again_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    now = 0.0

    async def ask(number: int) -> None:
        nonlocal now
        asked.append(number)
        now += 0.001
        await asyncio.sleep(0)

    # Only asking takes time.
    clock = SimpleNamespace(perf_counter=lambda: now, process_time=time.process_time)
    monkeypatch.setattr("benchmarks.load.time", clock)
    made = await make_load(ask, Order(callers=3, warm_up=0.05, seconds=0.1, items=2))
    assert sorted(asked) == list(range(len(asked)))
    assert 150 <= len(asked) <= 153
    assert made["items"] == 2 * len(made["latencies_ms"])
    assert 95 <= len(made["latencies_ms"]) <= 100
    assert made["errors"] == 0


async def test_the_first_failure_ends_the_load() -> None:
    async def ask(number: int) -> None:
        raise ValueError(f"no {number}")

    made = await make_load(ask, Order(callers=3, warm_up=60, seconds=60, items=1))
    assert made["errors"] > 0
    assert made["reason"] == "ValueError('no 0')"


def test_the_drawn_lines_are_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = (write_crops(tmp_path / folder, 5) for folder in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len({path.stat().st_size for path in first}) > 1
