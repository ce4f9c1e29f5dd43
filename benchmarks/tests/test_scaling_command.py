import pytest

from benchmarks import scaling
from benchmarks.scaling import Sample


def sample(workers: int, rate: float, cpu: float, own_cpu: float = 0.1) -> Sample:
    return Sample(workers=workers, rate=rate, p50_ms=40.0, cpu=cpu, own_cpu=own_cpu)


SAMPLES = [
    sample(1, 90.0, 0.10),
    sample(2, 190.0, 0.30),
    sample(4, 280.0, 0.90),
    sample(4, 320.0, 1.00),
    sample(2, 190.0, 0.30),
    sample(1, 110.0, 0.14),
]


def test_ways_up_and_down_are_one_point_for_each_number_of_workers() -> None:
    points = scaling.summarise(SAMPLES)
    assert [(point.workers, point.rate) for point in points] == [(1, 100.0), (2, 190.0), (4, 300.0)]
    lines = scaling.scaling_table(points, scaling.parse(["--run-ms", "40"])).splitlines()
    assert lines[2].split() == ["1", "100", "1.00", "0.50", "40", "12", "%", "10", "%"]
    assert lines[4].split() == ["4", "300", "0.75", "0.38", "40", "95", "%", "10", "%"]


def test_the_point_where_the_machine_is_busy_is_named_and_the_bar_holds_before_it() -> None:
    points = scaling.summarise(SAMPLES)
    assert "are busy from 4 workers on (95 %)" in scaling.busy_line(points, 0.9)
    bar = scaling.bar_of(points, scaling.parse(["--min-ratio", "0.9"]))
    assert (bar.value, bar.met) == (pytest.approx(0.95), True)
    assert not scaling.bar_of(points, scaling.parse(["--min-ratio", "0.96"])).met


def test_a_machine_that_is_never_busy_is_measured_to_the_end() -> None:
    points = scaling.summarise(SAMPLES)
    assert "4 workers do not keep" in scaling.busy_line(points, 0.99)
    assert scaling.bar_of(points, scaling.parse(["--min-ratio", "0.9", "--busy", "0.99"])).value == pytest.approx(0.75)


def test_a_machine_that_was_busy_before_proves_nothing() -> None:
    points = [sample(1, 100.0, 0.5), sample(2, 200.0, 0.95)]
    assert not scaling.bar_of(points, scaling.parse(["--min-ratio", "0.9"])).met


def test_other_programs_are_told_of() -> None:
    assert "Other programs took up to 70 %" in scaling.others_line([sample(1, 100.0, 0.8, own_cpu=0.1)])
    assert scaling.others_line([sample(1, 100.0, 0.15, own_cpu=0.1)]) == ""


def test_real_workers_share_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--workers", "1,2", "--seconds", "3", "--run-ms", "50", "--crops", "2", "--busy", "2"]
    assert scaling.main([*small, "--min-ratio", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert float(lines[2].split()[1].replace(",", "")) > 0
    assert any(line.startswith("met ") for line in lines)


def test_the_first_number_of_workers_is_one() -> None:
    for workers in ("2,4", "1,4,2", "one"):
        with pytest.raises(SystemExit):
            scaling.parse(["--workers", workers])
