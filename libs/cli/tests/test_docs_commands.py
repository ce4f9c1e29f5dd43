"""Every `billow ...` command in the pages for operators is one that there is, with the options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from billow.cli.__main__ import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / name for name in ("workstation.md", "operations.md")]
PAGES.append(ROOT / "docs" / "adr" / "0006-leaf-or-cluster-member.md")
PAGES.append(ROOT / "deploy" / "cost" / "hybrid.toml")


def commands_of(page: Path) -> Iterator[str]:
    """In code blocks, comments and inline code; a line may go on after a backslash."""
    for line in page.read_text().replace("\\\n", " ").splitlines():
        inline = re.findall(r"`([^`]+)`", line)
        whole = [line] if re.match(r"\s*(# .*: |[A-Z_]+=\S+ )?billow ", line) else []
        for part in inline or whole:
            # Not the namespace of `kubectl -n billow`.
            if found := re.search(r"(?:^|(?<!-n)\s)(billow [a-z][^#>|<]*)", part):
                yield found[1].strip()


def check(command: str) -> None:
    """Follow the words to a command; then every option has to be one of its own."""
    words = shlex.split(command)[1:]
    # Of Typer's own copy of click, which has no public types.
    here: Any = typer.main.get_command(app)
    while hasattr(here, "commands") and words and not words[0].startswith("-"):
        assert words[0] in here.commands, command
        here = here.commands[words.pop(0)]
    known = {name for parameter in here.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_there(page: Path) -> None:
    commands = list(commands_of(page))
    assert commands
    for command in commands:
        check(command)


def test_a_wrong_command_or_option_is_seen() -> None:
    for wrong in ("billow topologie plan", "billow topology plan --chek", "billow workstation join - --gpu 1"):
        with pytest.raises(AssertionError):
            check(wrong)
