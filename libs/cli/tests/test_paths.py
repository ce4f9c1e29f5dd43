"""Which files a user means."""

from pathlib import Path

from billow.cli.paths import documents


def test_files_keep_their_order_and_folders_are_searched(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.pdf", "a.JPG", "deep/c.webp", "notes.txt", ".DS_Store"):
        (folder / name).touch()
    odd = tmp_path / "photo.bin"
    odd.touch()
    gone = tmp_path / "gone.jpg"
    found = list(documents([odd, gone, folder]))
    assert found == [odd, gone, folder / "a.JPG", folder / "b.pdf", folder / "deep/c.webp"]
