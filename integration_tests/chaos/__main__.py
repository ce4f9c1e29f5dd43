"""`python -m integration_tests.chaos`: the long run."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

import msgspec

from billow.runtime.logs import configure_logs
from integration_tests.chaos.run import run
from integration_tests.cluster.leftovers import remove_leftovers
from integration_tests.images import NATS, POSTGRES
from integration_tests.images.engine import check_engine


def main() -> int:
    """Exit code 0 if nothing was lost, doubled or buried."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Break something every few seconds under load.")
    parser.add_argument("--documents", type=int, default=1_000, help="how many are handed in (%(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="in which they are handed in (%(default)s)")
    parser.add_argument("--every", type=float, default=5, help="seconds between two deeds (%(default)s)")
    parser.add_argument("--seed", type=int, help="chooses what is broken; printed, and random unless given")
    parser.add_argument("--folder", type=Path, help="keeps the logs of all parts and report.json; must be empty")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="billow-chaos-"))
    check_engine((NATS, POSTGRES))
    remove_leftovers()
    configure_logs("chaos", level="info", format="text")
    sys.stderr.write(f"seed {seed}, logs in {folder}\n")

    def progress(accepted: int, completed: int) -> None:
        sys.stderr.write(f"\r{accepted:,} accepted, {completed:,} completed of {options.documents:,} ")

    outcome = asyncio.run(
        run(
            folder,
            documents=options.documents,
            seconds=options.seconds,
            seed=seed,
            every=options.every,
            progress=progress if sys.stderr.isatty() else lambda _accepted, _completed: None,
        )
    )
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=2))
    sys.stdout.write(f"\n{outcome.describe()}\n")
    return 0 if outcome.verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
