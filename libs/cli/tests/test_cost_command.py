"""`billow cost`: figures worked out by hand, and a topology that is too small."""

import io
import json
from datetime import date
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from billow.cli.__main__ import app
from billow.cli.commands import cost as command
from billow.cli.cost_bill import bill, compare
from billow.cli.cost_values import Cloud, Measured, Plan, Workstation, read_plan
from billow.runtime.errors import UsageError

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "deploy" / "cost").glob("*.toml"))
DAY = date(2025, 1, 15)

BY_HAND = """
name = "by hand"

[load]
documents_a_month = 1_314_000    # 0.5 a second
bytes_a_document = 1_048_576
retention_days = 36.5            # 1.2 months
history_days = 73                # 2.4 months
peak = 4                         # 2 a second

[[cloud]]
name = "small"
count = 3
cores = 2
price_an_hour = 0.05
as_of = 2025-01-15
source = "a list"

[[workstation]]
name = "desk"
count = 2
cores = 6
watts = 300
idle_watts = 100
price = 960
years = 4

[electricity]
price_a_kwh = 0.25
as_of = 2025-01-15
source = "a bill"

[storage]
price_a_gb = 0.1
copies = 3
included_gb = 100
as_of = 2025-01-15
source = "a list"

[transfer]
out_price_a_gb = 0.08
out_included_gb = 50
in_price_a_gb = 0.01
as_of = 2025-01-15
source = "a list"

[[fixed]]
name = "balancer"
price_a_month = 18
as_of = 2025-01-15
source = "a list"

[measured]
seconds_a_document = 1
cores = 2
share_outside_models = 0.25      # 0.5 core seconds in services, 1.5 in models
worker_cores = 2
busy = 0.5
link_bytes = 262_144
history_bytes = 0

[[comparison]]
name = "the original"
price_a_month = 297
documents_a_month = 1_440_000
source = "its makers"

[[comparison]]
name = "a GPU"
price_an_hour = 0.6
count = 2
as_of = 2025-01-15
source = "a list"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "values.toml"
    file.write_text(BY_HAND)
    return read_plan(file)


def test_the_bill_is_the_one_worked_out_by_hand(plan: Plan) -> None:
    found = bill(plan)
    gb_in = 1_314_000 / 1024
    assert found.in_gb == pytest.approx(gb_in)
    assert found.out_gb == pytest.approx(gb_in / 4)
    assert found.storage_gb == pytest.approx(gb_in * 1.2 * 3)
    assert {item.name: round(item.usd, 4) for item in found.items} == {
        "cloud small": 109.5,  # 3 x 730 x 0.05
        # 0.5 documents/s of the 4 that 12 half-busy cores carry at 1.5 s each: an eighth of the time at work
        "electricity desk": 45.625,  # 2 x 730 h x (100 + 200 / 8) W = 182.5 kWh at 0.25
        "hardware desk": 40.0,  # 2 x 960 / 48
        "storage": round((gb_in * 3.6 - 100) * 0.1, 4),  # 451.9531
        "transfer out": round((gb_in / 4 - 50) * 0.08, 4),  # 21.6641
        "transfer in": round(gb_in * 0.01, 4),  # 12.832
        "balancer": 18.0,
    }
    assert found.usd == pytest.approx(699.5742, abs=1e-4)
    assert found.usd_a_thousand == pytest.approx(699.57422 / 1314, abs=1e-6)


def test_workers_and_cores_that_the_peak_needs(plan: Plan) -> None:
    capacity = bill(plan).capacity
    assert (capacity.mean, capacity.peak) == (0.5, 2.0)
    assert capacity.documents_a_second_a_core == 0.5
    assert capacity.worker_sets == 3  # 2/s x 1.5 s / 0.5 busy / 2 cores
    assert capacity.worker_sets_there == 6  # 2 x 6 cores / 2
    assert capacity.service_cores == 2.0  # 2/s x 0.5 s / 0.5 busy
    assert capacity.carried == 4.0  # 12 x 0.5 / 1.5, less than 6 x 0.5 / 0.5
    assert capacity.verdict == "carries"
    assert capacity.reason == ""


@pytest.mark.parametrize(
    ("documents", "verdict", "reason"),
    [
        (2_628_000, "carries", ""),  # 1/s on average, 4/s at the peak: just so
        (2_628_001, "waits at the peak", "too few workers"),
        (4 * 2_628_000, "waits at the peak", "too few workers"),
        (4 * 2_628_000 + 1, "cannot carry", "too few workers"),
    ],
)
def test_where_a_load_stops_being_carried(plan: Plan, documents: int, verdict: str, reason: str) -> None:
    load = msgspec.structs.replace(plan.load, documents_a_month=documents)
    capacity = bill(msgspec.structs.replace(plan, load=load)).capacity
    assert capacity.verdict == verdict
    assert capacity.reason.startswith(reason)
    assert bool(capacity.reason) == bool(reason)


def test_workstations_that_are_on_for_half_of_the_month_carry_half_on_average(plan: Plan) -> None:
    half = tuple(msgspec.structs.replace(each, hours_a_month=365) for each in plan.workstation)
    load = msgspec.structs.replace(plan.load, documents_a_month=2_628_000 * 3)  # 3/s; 2/s are carried on average
    found = bill(msgspec.structs.replace(plan, workstation=half, load=load))
    assert found.capacity.verdict == "cannot carry"
    assert "2.000 of 3.000 documents/s" in found.capacity.reason
    # At work all the time that it is on.
    assert next(item.usd for item in found.items if item.name == "electricity desk") == 2 * 365 * 0.3 * 0.25


def test_services_are_a_limit_too(plan: Plan) -> None:
    small = (msgspec.structs.replace(plan.cloud[0], count=1, cores=0.4),)  # 0.4 x 0.5 busy / 0.5 s
    capacity = bill(msgspec.structs.replace(plan, cloud=small)).capacity
    assert capacity.carried == 0.4
    assert capacity.verdict == "cannot carry"
    assert capacity.reason.startswith("the services")


def test_a_machine_that_does_both_gives_each_core_once(plan: Plan) -> None:
    one = Cloud(name="one", count=1, cores=4, price_an_hour=0, models=True, as_of=DAY, source="mine")
    found = bill(msgspec.structs.replace(plan, cloud=(one,), workstation=()))
    assert found.capacity.carried == 1.0  # 4 x 0.5 / (0.5 + 1.5)
    assert found.capacity.verdict == "waits at the peak"
    assert found.capacity.worker_sets_there == 2
    assert found.out_gb == 0


def test_a_gpu_takes_over_from_cores_what_it_was_measured_to_do(plan: Plan) -> None:
    with_gpu = (Workstation(name="gpu", count=1, cores=0, watts=250, gpus=2, documents_a_second_a_gpu=0.75),)
    capacity = bill(msgspec.structs.replace(plan, workstation=with_gpu)).capacity
    assert capacity.carried == 1.5
    assert capacity.verdict == "waits at the peak"
    assert capacity.worker_sets == 1  # the half a second that is left: 0.5 x 1.5 / 0.5 / 2


def test_others_are_compared_by_the_price_of_a_thousand_documents(plan: Plan) -> None:
    ours = bill(plan)
    original, gpu = compare(plan, ours)
    assert (original.usd, original.usd_a_thousand, original.as_of) == (297, 0.20625, "undated")
    assert original.times == pytest.approx(0.20625 / ours.usd_a_thousand)
    assert (gpu.name, gpu.usd, gpu.as_of, gpu.source) == ("2 x a GPU", 876.0, "2025-01-15", "a list")
    assert gpu.usd_a_thousand == pytest.approx(876 / 1314)


def test_measured_defaults_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"| billow                | 60 of 60 |        {Measured().seconds_a_document} |" in readme
    assert f"median {Measured().share_outside_models * 100:g} %" in readme


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_carries_its_load_and_stands_beside_the_original(file: Path) -> None:
    result = CliRunner().invoke(app, ["cost", "--values", str(file), "--format", "jsonl"])
    assert result.exit_code == 0, result.output
    ours, *others = map(json.loads, result.stdout.splitlines())
    assert ours["type"] == "topology"
    assert ours["capacity"]["verdict"] == "carries"
    assert ours["usd"] == pytest.approx(sum(item["usd"] for item in ours["items"]))
    assert [each["usd"] for each in others] == [297.0, 0.526 * 730]
    assert all(each["source"] for each in others)


def test_the_table_names_the_bill_the_others_and_what_is_needed(plan: Plan, tmp_path: Path) -> None:
    out = Console(file=io.StringIO(), width=140, color_system=None)
    assert command.show(tmp_path / "values.toml", out, table=True)
    assert isinstance(out.file, io.StringIO)
    text = out.file.getvalue()
    for part in (
        "699.57",
        "297.00",
        "0.2062",
        "876.00",
        "3 sets of workers of 2 cores (there is room for 6)",
        "a list",
    ):
        assert part in text, part


def test_a_topology_that_is_too_small_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(BY_HAND.replace("1_314_000", "26_280_000"))  # 10/s on average
    result = CliRunner().invoke(app, ["cost", "-f", str(file), "--format", "table"])
    assert result.exit_code == 1
    assert "cannot carry: too few workers: 4.000 of 10.000 documents/s on average" in " ".join(result.stdout.split())
    assert "needs 60 sets of workers of 2 cores" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("peak = 4", "peak = 0.5", "load.peak"),
        ("peak = 4", "peek = 4", "peek"),
        ("copies = 3", "copies = 0", "storage.copies"),
        ("count = 3\n", "count = -1\n", "cloud[0].count"),
        ("price_a_kwh = 0.25\nas_of = 2025-01-15", "price_a_kwh = 0.25", "as_of"),
        (
            'price_a_kwh = 0.25\nas_of = 2025-01-15\nsource = "a bill"',
            "price_a_kwh = 0.25\nas_of = 2025-01-15",
            "source",
        ),
        ("price_an_hour = 0.6", "", "a GPU"),
        ("[load]", "[load", "line"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    file = tmp_path / "bad.toml"
    assert old in BY_HAND
    file.write_text(BY_HAND.replace(old, new, 1))
    with pytest.raises(UsageError) as raised:
        read_plan(file)
    assert named in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_plan_without_services_or_a_price_for_its_power_or_a_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "values.toml"
    head, rest = BY_HAND.split("[[cloud]]")
    file.write_text(head + "[[workstation]]" + rest.split("[[workstation]]")[1])
    with pytest.raises(UsageError, match="runs the services"):
        read_plan(file)
    head, rest = BY_HAND.split("[electricity]")
    file.write_text(head + "[storage]" + rest.split("[storage]")[1])
    with pytest.raises(UsageError, match="price_a_kwh"):
        read_plan(file)
    with pytest.raises(UsageError, match="Copy one of deploy/cost/"):
        read_plan(tmp_path / "absent.toml")
