"""Numbers for Prometheus: a page that a scraper reads, there only where a port is given.

Metrics are declared beside what they count, with the three types of this module, in base units (seconds, bytes) and
named `billow_<what>_<unit>[_total]`. They count whether or not anybody reads them.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from billow.runtime.errors import UsageError

__all__ = ["CollectorRegistry", "Counter", "Gauge", "Histogram", "serve_metrics"]


def serve_metrics(port: int) -> Callable[[], None]:
    """Answer `GET /metrics` on all addresses, from a thread; returns what ends it and frees the port.

    Raises:
        UsageError: the port is taken, or this user may not have it.
    """
    try:
        server, thread = start_http_server(port)
    except OSError as e:
        raise UsageError(
            f"BILLOW_METRICS_PORT: no metrics on port {port} ({e.strerror or e}). Give each process of a machine a "
            "port of its own, or unset this variable."
        ) from e

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
