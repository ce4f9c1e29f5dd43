"""Which characters a recogniser of lines can answer with.

An alphabet file has one character a line, in UTF-8, and nothing else: no comments, since `#` is a character, not the
space, which every recogniser knows, and not the class for "no character". `alphabets/` beside this module holds those
that are known by name.
"""

import unicodedata
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import msgspec

from billow.engines.errors import AlphabetError
from billow.engines.manifest import FILE_NAME, Manifest

_SUFFIX = ".txt"


class Alphabet(msgspec.Struct, frozen=True, kw_only=True):
    """Some characters and what they are called."""

    name: str
    characters: tuple[str, ...]
    """Each once, without the space."""

    def extended(self, texts: Iterable[str]) -> "Alphabet":
        """With every visible character of these texts."""
        more = {character for text in texts for character in text if character.isprintable()}
        added = sorted(more - {" ", *self.characters})
        return msgspec.structs.replace(self, characters=(*self.characters, *added))


def alphabet_names() -> tuple[str, ...]:
    """The alphabets that come with this package."""
    files = resources.files("billow.engines").joinpath("alphabets").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def find_alphabet(name_or_path: str) -> Alphabet:
    """One that comes with this package, by its name, or a file of the user's own, named after it.

    Raises:
        AlphabetError: there is neither, or the file is no alphabet.
    """
    if name_or_path in alphabet_names():
        file = resources.files("billow.engines").joinpath("alphabets", f"{name_or_path}{_SUFFIX}")
        return Alphabet(name=name_or_path, characters=_parse(file.read_text(encoding="utf-8"), name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise AlphabetError(
            f"no alphabet {name_or_path!r}: it is neither a file nor one of {', '.join(alphabet_names())}; write a "
            "file with one character a line"
        )
    return Alphabet(name=path.stem, characters=read_alphabet(path))


def read_alphabet(path: Path) -> tuple[str, ...]:
    """The characters of an alphabet file, in its order.

    Raises:
        AlphabetError: it cannot be read, or a line is no single character, or one stands there twice.
    """
    try:
        # Bytes: reading as text would take lone carriage returns for ends of lines.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as e:
        raise AlphabetError(f"{path}: cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        raise AlphabetError(f"{path}: is not UTF-8 text: {e}") from e
    return _parse(text, str(path))


def listed_characters(manifest: Manifest) -> str | None:
    """What the file of the model's [alphabet] lists, in the form of a `character` list of weights; None without one.

    Raises:
        AlphabetError: the file is no alphabet, or has another size than the manifest says.
    """
    if manifest.alphabet is None or manifest.alphabet.file is None:
        return None
    characters = read_alphabet(manifest.folder / manifest.alphabet.file)
    if manifest.alphabet.size not in {None, len(characters)}:
        raise AlphabetError(
            f"{manifest.folder / manifest.alphabet.file} has {len(characters)} characters, and `alphabet.size` in "
            f"{manifest.folder / FILE_NAME} says {manifest.alphabet.size}; correct one of them"
        )
    return "\n".join(characters)


def _parse(text: str, where: str) -> tuple[str, ...]:
    # Not `splitlines`: it also splits at characters that an alphabet may hold.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise AlphabetError(f"{where}, line {number}: is blank; the space is always known and not listed")
        if line in seen:
            raise AlphabetError(f"{where}, line {number}: {line!r} stands there twice")
        # Some models have a few classes of a letter and its combining marks.
        if len(line) > 1 and not all(_combines(character) for character in line[1:]):
            raise AlphabetError(f"{where}, line {number}: {line!r} is not one character; write one a line")
        seen.add(line)
    return tuple(lines)


def _combines(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or character in "\u200d\ufe0f"
