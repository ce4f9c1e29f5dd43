"""What a scraper of Prometheus gets."""

import asyncio
import http.client
import socket

import pytest

from billow.runtime.errors import UsageError
from billow.runtime.metrics import Counter, serve_metrics
from billow.runtime.process import EXIT_WRONG_USAGE, Lifecycle, run_service
from billow.runtime.settings import ProcessSettings

_TEAS = Counter("billow_test_teas", "Cups that were drunk.", ["kind"])


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        connection.close()


def test_a_scraper_sees_what_was_counted_until_it_is_closed(port: int) -> None:
    close = serve_metrics(port)
    _TEAS.labels("green").inc(3)
    assert 'billow_test_teas_total{kind="green"} 3.0' in scrape(port)
    close()
    with pytest.raises(ConnectionRefusedError):
        scrape(port)


def test_a_port_that_is_taken_is_wrong_usage() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"BILLOW_METRICS_PORT: no metrics on port {port}"):
            serve_metrics(port)


def test_a_service_serves_its_metrics_while_it_runs(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLOW_METRICS_PORT", str(port))
    pages: list[str] = []

    async def serve(settings: ProcessSettings, lifecycle: Lifecycle) -> None:
        pages.append(await asyncio.to_thread(scrape, settings.metrics_port))

    assert run_service("test", ProcessSettings, serve) == 0
    assert "billow_test_teas" in pages[0]
    with pytest.raises(ConnectionRefusedError):
        scrape(port)


def test_a_port_that_cannot_be_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def serve(settings: ProcessSettings, lifecycle: Lifecycle) -> None:
        raise AssertionError("not started")

    monkeypatch.setenv("BILLOW_METRICS_PORT", "70000")
    assert run_service("test", ProcessSettings, serve) == EXIT_WRONG_USAGE
    assert "BILLOW_METRICS_PORT" in capfd.readouterr().err
