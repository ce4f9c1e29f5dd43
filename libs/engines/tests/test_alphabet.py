"""An alphabet is a list of characters that can be trusted."""

from pathlib import Path

import pytest

from billow.engines.alphabet import alphabet_names, find_alphabet, listed_characters
from billow.engines.errors import AlphabetError, ManifestError
from billow.engines.manifest import read_manifest

MANIFEST = """
name = "reader"
version = "1.0.0"
task = "text-recognition"
runtimes = ["onnxruntime"]
licence = "MIT"
description = "Reads."
[weights]
kind = "file"
file = "reader.onnx"
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
[alphabet]
name = "digits"
size = 3
file = "digits.txt"
"""


def test_latin_has_what_western_receipts_print() -> None:
    assert "latin" in alphabet_names()
    latin = {*find_alphabet("latin").characters}
    assert {*map(chr, range(0x21, 0x7F))} <= latin, "all of ASCII that can be seen"
    assert {*"äöüßÄÖÜéèêëçœæàâîïôûùñáíóúãõìòżłőčš"} <= latin
    assert {*"€£¥₫¢×°–—’“”•"} <= latin
    assert " " not in latin
    assert all(len(character) == 1 for character in latin)


def test_a_file_of_ones_own_is_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "till.txt"
    file.write_bytes("#\n0\r\né\n".encode("utf-8-sig"))
    alphabet = find_alphabet(str(file))
    assert (alphabet.name, alphabet.characters) == ("till", ("#", "0", "é"))


def test_samples_add_what_they_use() -> None:
    alphabet = find_alphabet("latin").extended(["Ω 1 日本\n", "\tя"])
    assert alphabet.characters[-3:] == ("я", "日", "本")
    assert len({*alphabet.characters}) == len(alphabet.characters)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n\nb\n", "line 2: is blank"),
        ("a\n \n", "line 2: is blank"),
        ("a\nb\na\n", "line 3: 'a' stands there twice"),
        ("abc\n", "line 1: 'abc' is not one character"),
    ],
)
def test_a_list_that_is_none_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "till.txt"
    file.write_text(text)
    with pytest.raises(AlphabetError) as caught:
        find_alphabet(str(file))
    assert str(file) in str(caught.value) and said in str(caught.value)


def test_what_is_neither_name_nor_file() -> None:
    with pytest.raises(AlphabetError, match="neither a file nor one of latin"):
        find_alphabet("klingon")


def test_a_manifest_may_name_a_list_for_weights_that_have_none(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    (tmp_path / "digits.txt").write_text("1\n2\n3\n")
    manifest = read_manifest(tmp_path / "manifest.toml")
    assert listed_characters(manifest) == "1\n2\n3"
    (tmp_path / "digits.txt").write_text("1\n2\n")
    with pytest.raises(AlphabetError, match=r"has 2 characters, and `alphabet\.size` .* says 3"):
        listed_characters(manifest)
    (tmp_path / "manifest.toml").write_text(MANIFEST.replace('file = "digits.txt"', ""))
    assert listed_characters(read_manifest(tmp_path / "manifest.toml")) is None


def test_only_recognisers_have_an_alphabet(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(MANIFEST.replace("text-recognition", "text-detection"))
    with pytest.raises(ManifestError, match="only for task"):
        read_manifest(tmp_path / "manifest.toml")
