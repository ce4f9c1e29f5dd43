"""Commands of a page: what stands in its fenced blocks, line by line, loops written out."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from helm.tests.binary import ROOT

_FENCE = re.compile(r"(?:<!-- tested: (?P<name>[a-z]+) -->\n)?^(?P<indent> *)```\w*\n(?P<text>.*?)^ *```$", re.M | re.S)
_LOOP = re.compile(r"^for (\w+) in ([^;$]+); do(.*?)done", re.M | re.S)
_HERE = re.compile(r"<<(\w+)\n.*?^\1$", re.M | re.S)
_ENDS = {"|", ">", ">>", "<", "&", "&&", "||", ";", "do", "done"}
_PROGRAMS = ("billow", "helm", "kubectl", "docker")


class Block(NamedTuple):
    """A fenced block."""

    name: str
    """Of a block that is run by a test; empty for the others"""
    text: str


class Command(NamedTuple):
    """One call of a program."""

    program: str
    words: tuple[str, ...]
    """after the program's name, without redirections"""
    line: str


def page(name: str) -> str:
    """Text of a page of `docs`."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(found["name"] or "", found["text"]) for found in _FENCE.finditer(text)]


def commands(text: str, variables: Mapping[str, str]) -> Iterator[Command]:
    """Calls of our four programs in the blocks of a page; `$NAME` of `variables` is replaced."""
    for block in blocks(text):
        plain = _LOOP.sub(_written_out, _HERE.sub("", block.text)).replace("\\\n", " ")
        for line in plain.splitlines():
            for name, value in variables.items():
                line = re.sub(rf"\$\{{?{name}\b\}}?", value, line)  # noqa: PLW2901
            yield from _calls(line)


def inline_commands(text: str) -> Iterator[Command]:
    """Those in the running text, between backquotes."""
    for found in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)):
        yield from _calls(found)


def _written_out(found: re.Match[str]) -> str:
    name, values, body = found.groups()
    return "\n".join(
        part for value in values.split() for part in _statements(re.sub(rf"\$\{{?{name}\b\}}?", value, body))
    )


def _statements(body: str) -> list[str]:
    return [line.strip() for line in body.replace(";", "\n").splitlines() if line.strip()]


def _calls(line: str) -> Iterator[Command]:
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "SUBSTITUTED", line), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return
    while words:
        stop = next((number for number, word in enumerate(words) if word in _ENDS), len(words))
        call, words = words[:stop], words[stop + 1 :]
        # Settings of the environment stand before the program.
        while call and (re.fullmatch(r"[A-Z_]+=.*", call[0]) or call[0] in {"sudo", "microk8s"}):
            call.pop(0)
        if call[1:] and call[0] in _PROGRAMS:
            yield Command(call[0], tuple(call[1:]), line.strip())


def links(text: str) -> Iterator[tuple[str, str]]:
    """Target and anchor of each link to a file of ours."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(path: Path) -> set[str]:
    """What headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
