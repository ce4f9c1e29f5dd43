"""JSON patches (RFC 6902) as a profile of skaffold.yaml has them: `op` is `replace` unless said."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, cast

Document = dict[str, Any]


class PatchError(Exception):
    """The path of a patch is not there; Skaffold would refuse the profile."""


def apply(document: Document, patches: Iterable[Mapping[str, Any]]) -> Document:
    """A patched copy.

    Raises:
        PatchError: a patch cannot be applied, alone or after those before it. Skaffold tries each one alone first, so
            none may need another.
    """
    result = copy.deepcopy(document)
    for patch in patches:
        _apply(copy.deepcopy(document), patch)
        _apply(result, patch)
    return result


def _apply(document: Document, patch: Mapping[str, Any]) -> None:
    path: str = patch["path"]
    op: str = patch.get("op", "replace")
    holder, key = _holder(document, path)
    there = key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)
    if op == "add":
        _add(holder, key, copy.deepcopy(patch["value"]), path)
    elif not there:
        raise PatchError(f"{op}: nothing is at {path}")
    elif op == "replace":
        cast(Document, holder)[cast(str, key)] = copy.deepcopy(patch["value"])
    elif op == "remove":
        del cast(Document, holder)[cast(str, key)]
    else:
        raise PatchError(f"{op}: not understood here")


def _add(holder: Document | list[Any], key: str | int, value: object, path: str) -> None:
    if isinstance(holder, dict):
        holder[str(key)] = value
    elif key == "-":
        holder.append(value)
    elif isinstance(key, int) and key <= len(holder):
        holder.insert(key, value)
    else:
        raise PatchError(f"add: no place {path}")


def _holder(document: Document, path: str) -> tuple[Document | list[Any], str | int]:
    """What the last part of the path is in, and that part."""
    if not path.startswith("/"):
        raise PatchError(f"{path} does not begin with /")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    holder: Any = document
    for part in parts[:-1]:
        try:
            holder = holder[_key(holder, part)]
        except (KeyError, IndexError, TypeError) as e:
            raise PatchError(f"nothing is at {path}: {part} is missing") from e
    if not isinstance(holder, dict | list):
        raise PatchError(f"nothing can be at {path}")
    found = cast(Document | list[Any], holder)
    return found, _key(found, parts[-1])


def _key(holder: object, part: str) -> str | int:
    return int(part) if isinstance(holder, list) and part.isdigit() else part
