"""The life of a process: start, ready, SIGTERM or SIGINT, drain, exit."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TypeVar

import structlog

from billow.runtime.errors import BillowError, StackUnreachableError, UsageError
from billow.runtime.logs import configure_logs
from billow.runtime.settings import ProcessSettings, load

P = TypeVar("P", bound=ProcessSettings)

EXIT_WRONG_USAGE = 2
EXIT_UNREACHABLE = 3
DRAIN_SECONDS = 25.0
"""For what is in hand at the end, unless a setting says otherwise."""


class Lifecycle:
    """What a service's main coroutine needs to know about its process."""

    def __init__(self, ready_file: str = "", *, drain: float = DRAIN_SECONDS) -> None:
        self.stopping = asyncio.Event()
        """Set by the first SIGTERM or SIGINT: stop pulling, finish what is in hand, leave."""
        self.drain = drain
        """seconds for what is in hand"""
        self._ready_file = Path(ready_file) if ready_file else None

    def ready(self) -> None:
        """Tell whoever started us that we take work now."""
        if self._ready_file is not None:
            self._ready_file.write_text(str(os.getpid()))

    def close(self) -> None:
        """Take the readiness back."""
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)


def run_process(
    main: Callable[[Lifecycle], Awaitable[None]],
    *,
    ready_file: str = "",
    stop_with_parent: bool = False,
    drain: float = DRAIN_SECONDS,
) -> int:
    """Run a service until it ends or is told to; returns the exit code.

    The first SIGTERM or SIGINT sets `Lifecycle.stopping`; a second one exits at once with 128 + signal.
    """
    log = structlog.get_logger()
    try:
        asyncio.run(_run(main, Lifecycle(ready_file, drain=drain), stop_with_parent=stop_with_parent))
    except UsageError as e:
        log.error("wrong usage", reason=str(e))
        return EXIT_WRONG_USAGE
    except StackUnreachableError as e:
        log.error("stack unreachable", reason=str(e))
        return EXIT_UNREACHABLE
    except BillowError as e:
        log.error("stopped by an error", reason=str(e))
        return 1
    return 0


def run_service(
    name: str, settings_type: type[P], serve: Callable[[P, Lifecycle], Awaitable[None]], **overrides: str
) -> int:
    """Read the settings from the environment, set up the logs and run a service; returns the exit code.

    `overrides` are settings that the command line gave; empty ones do not count.
    """
    given = {key: value for key, value in overrides.items() if value}
    try:
        settings = load(settings_type, overrides=given)
        configure_logs(name, level=settings.log_level, format=settings.log_format)
    except UsageError as e:
        sys.stderr.write(f"{e}\n")
        return EXIT_WRONG_USAGE

    async def main(lifecycle: Lifecycle) -> None:
        with _metrics(settings.metrics_port):
            await serve(settings, lifecycle)

    return run_process(
        main,
        ready_file=settings.ready_file,
        stop_with_parent=settings.stop_with_parent,
        drain=settings.drain,
    )


@contextlib.contextmanager
def _metrics(port: int) -> Generator[None]:
    if not port:
        yield
        return
    # Imported by need: most processes count nothing for anybody.
    from billow.runtime.metrics import serve_metrics

    close = serve_metrics(port)
    try:
        yield
    finally:
        close()


async def _stop_with_parent(stopping: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    structlog.get_logger().warning("the process that started this one is gone, stopping")
    stopping.set()


async def _run(main: Callable[[Lifecycle], Awaitable[None]], lifecycle: Lifecycle, *, stop_with_parent: bool) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if lifecycle.stopping.is_set():
            sys.stderr.flush()
            os._exit(128 + number)
        lifecycle.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    watcher = asyncio.create_task(_stop_with_parent(lifecycle.stopping)) if stop_with_parent else None
    try:
        await main(lifecycle)
    finally:
        if watcher is not None:
            watcher.cancel()
        lifecycle.close()
