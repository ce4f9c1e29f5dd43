"""Write the sample documents and their truth: `python -m samples.generate [FOLDER]`.

Without a folder they go where the project keeps them, next to this module. Or, with `--count N`, write N invented
receipts instead, for trying things out: plain prints, or photographs with `--photo`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from samples.invoice import render_invoice
from samples.layouts import PRINTERS, rows
from samples.photo import take
from samples.receipts import jpeg, photo_truth, render_receipt
from samples.showcase import SHOWPIECES, Showpiece
from samples.thermal import Print, compose, draw
from samples.truth import Truth

HERE = Path(__file__).resolve().parent
TRUTH = "truth.jsonl"


def page_of(piece: Showpiece) -> Print:
    """The print of a kept receipt."""
    return compose(rows(piece.receipt), PRINTERS[piece.receipt.style])


def truths() -> list[Truth]:
    """Truth of all kept samples, in the order of the file; draws no photo."""
    of_receipts = [photo_truth(piece.receipt, page_of(piece), piece.shot, piece.name) for piece in SHOWPIECES]
    return [*of_receipts, render_invoice()[1]]


def kept() -> Iterator[tuple[bytes, Truth]]:
    """File content and truth of every kept sample."""
    for piece in SHOWPIECES:
        page = page_of(piece)
        yield jpeg(take(draw(page), piece.shot)), photo_truth(piece.receipt, page, piece.shot, piece.name)
    yield render_invoice()


def write(folder: Path, documents: Iterable[tuple[bytes, Truth]]) -> list[Path]:
    """Write the files and `truth.jsonl`; existing ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    lines: list[str] = []
    for data, truth in documents:
        path = folder / truth["image"]
        path.write_bytes(data)
        written.append(path)
        lines.append(json.dumps(truth, ensure_ascii=False) + "\n")
    (folder / TRUTH).write_text("".join(lines), encoding="utf-8")
    return [*written, folder / TRUTH]


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(prog="python -m samples.generate", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where to (default: samples/)")
    parser.add_argument("--count", type=int, help="write this many invented receipts instead")
    parser.add_argument("--seed", type=int, default=0, help="of the first invented receipt (default 0)")
    parser.add_argument("--photo", action="store_true", help="photograph the invented receipts")
    options = parser.parse_args()
    if options.count is not None and options.folder == HERE:
        parser.error("--count needs a folder of its own")
    seeds = range(options.seed, options.seed + (options.count or 0))
    documents = kept() if options.count is None else (render_receipt(n, photo=options.photo) for n in seeds)
    for path in write(options.folder, documents):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
