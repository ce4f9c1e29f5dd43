import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samples.generate import HERE, TRUTH, page_of, truths, write
from samples.photo import View
from samples.receipts import render_receipt, shot_of
from samples.showcase import SHOWPIECES
from samples.truth import Truth


def image_of(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def kept_truth() -> list[Truth]:
    return [json.loads(line) for line in (HERE / TRUTH).read_text(encoding="utf-8").splitlines()]


def test_the_same_seed_gives_the_same_receipt_and_another_seed_another() -> None:
    assert render_receipt(4) == render_receipt(4)
    assert len({render_receipt(seed)[0] for seed in range(30)}) == 30


@pytest.mark.parametrize("seed", range(3))
def test_ink_of_a_plain_receipt_lies_where_the_truth_says(seed: int) -> None:
    data, truth = render_receipt(seed)
    pixels = np.asarray(image_of(data)).copy()
    assert (truth["width"], truth["height"]) == (pixels.shape[1], pixels.shape[0])
    for line in truth["lines"]:
        left, top, _, _, right, bottom, _, _ = (round(v) for v in line.get("quad", (0,) * 8))
        assert pixels[top:bottom, left:right].min() < 100, line["text"]
        pixels[top - 1 : bottom + 1, left - 1 : right + 1] = 255
    # What is left are rules, blanks to fill in and bars.
    assert (pixels < 100).mean() < 0.05


def test_a_photo_is_a_jpeg_whose_truth_lies_inside_it() -> None:
    data, truth = render_receipt(2, photo=True)
    image = image_of(data)
    assert image.format == "JPEG"
    assert image.size == (truth["width"], truth["height"])
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    for line in truth["lines"]:
        quad = np.array(line.get("quad")).reshape(4, 2)
        assert (quad >= 0).all()
        assert (quad <= image.size).all()
        (left, top), (right, bottom) = quad.min(axis=0).astype(int), quad.max(axis=0).astype(int)
        inside = grey[top:bottom, left:right]
        assert inside.min() < inside.max() - 50, line["text"]


@pytest.mark.parametrize("seed", range(5))
def test_photo_and_print_coordinates_are_inverse(seed: int) -> None:
    page = page_of(SHOWPIECES[seed % 2])
    view = View((page.width, page.height), shot_of(seed, page))
    points = np.random.default_rng(seed).uniform(0, 1, (50, 2)) * (page.width, page.height)
    assert np.allclose(view.to_print(view.to_photo(points)), points, atol=1e-6)


def test_kept_truth_is_what_the_generator_says() -> None:
    kept, fresh = kept_truth(), truths()
    assert [t["id"] for t in kept] == ["receipt-cafe", "receipt-market", "invoice"]
    for old, new in zip(kept, json.loads(json.dumps(fresh)), strict=True):
        assert [line["text"] for line in old["lines"]] == [line["text"] for line in new["lines"]]
        for one, other in zip(old["lines"], new["lines"], strict=True):
            assert np.allclose(one.get("quad", ()), other.get("quad", ()), atol=1.0)
        assert {**old, "lines": []} == {**new, "lines": []}


def test_kept_files_are_small_and_as_large_as_their_truth_says() -> None:
    for truth in kept_truth():
        path = HERE / truth["image"]
        assert path.stat().st_size < 600_000
        if path.suffix == ".jpg":
            assert image_of(path.read_bytes()).size == (truth["width"], truth["height"])
        else:
            assert path.read_bytes().startswith(b"%PDF-")


def test_write_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / TRUTH).write_text("old\n")
    written = write(tmp_path / "deeper" / "..", [render_receipt(1), render_receipt(2)])
    assert [path.name for path in written] == ["receipt-1.png", "receipt-2.png", TRUTH]
    lines = (tmp_path / TRUTH).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["receipt-1.png", "receipt-2.png"]
