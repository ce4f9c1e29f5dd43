"""structlog, configured in this one place: JSON lines for machines, colours for a terminal, always on stderr."""

import logging
import sys

import structlog

from billow.runtime.errors import UsageError

_SAID = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""Of every line: what is bound, the level and the time."""


def configure_logs(service: str, *, level: str = "info", format: str = "json") -> None:
    """Set up logging for this process; calling it again replaces the set-up.

    Every line carries `service`, the level, an ISO time in UTC and what `structlog.contextvars` holds.
    Libraries that log through `logging` (nats-py, SQLAlchemy) show warnings and errors only.

    Raises:
        UsageError: there is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"There is no log level {level!r}: say debug, info, warning or error.")
    renderer = structlog.dev.ConsoleRenderer() if format == "console" else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*_SAID, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")


def logs_to_stderr() -> None:
    """For a library in somebody's program: unless that set up structlog, nothing goes to stdout.

    Tracebacks then show no values of variables either, which may be what a receipt says.
    """
    if structlog.is_configured():
        return
    plain = structlog.dev.plain_traceback
    structlog.configure(
        processors=[
            *_SAID,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Whatever is stderr when something is logged.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
