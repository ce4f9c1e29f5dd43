"""Options that all measurements share."""

import argparse
from pathlib import Path
from typing import cast

from benchmarks.datasets import FORMATS, Document, Format, load
from benchmarks.extraction import split_command

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that knows which documents to take, how to call the command, and how to print."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = made.add_argument_group("documents")
    data.add_argument("--data", type=Path, default=SAMPLES, metavar="DIR", help="folder with truth (default: samples/)")
    data.add_argument(
        "--format",
        choices=FORMATS,
        default="sroie",
        help="sroie: annotations.jsonl (or truth.jsonl) with `fields` and `lines`; wildreceipt: annotations.jsonl with "
        "labelled boxes; german: the file name is the truth, merchant_DDMMYYYY_items_cents (default: sroie)",
    )
    data.add_argument("--limit", type=int, metavar="N", help="only the first N documents")
    made.add_argument("--billow", metavar="COMMAND", help="instead of `python -m billow.cli`")
    made.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return made


def documents_of(options: argparse.Namespace) -> list[Document]:
    """The documents that the options name. Raises DatasetError."""
    return load(cast(Path, options.data), cast(Format, options.format), cast(int | None, options.limit))


def command_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The command that the options name."""
    return split_command(cast(str | None, options.billow))
