"""Our reading of patches, which the tests of profiles stand on."""

from typing import Any

import pytest

from helm.tests.patches import PatchError, apply

_DOCUMENT: dict[str, Any] = {"a": {"b": 1, "c/d": 2, "~": 3}, "list": ["x", "y"]}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"path": "/a/b", "value": 5}, {"a": {"b": 5, "c/d": 2, "~": 3}, "list": ["x", "y"]}),
        ({"op": "replace", "path": "/list/1", "value": "z"}, {**_DOCUMENT, "list": ["x", "z"]}),
        ({"op": "add", "path": "/new", "value": [1]}, {**_DOCUMENT, "new": [1]}),
        ({"op": "add", "path": "/list/0", "value": "w"}, {**_DOCUMENT, "list": ["w", "x", "y"]}),
        ({"op": "add", "path": "/list/-", "value": "z"}, {**_DOCUMENT, "list": ["x", "y", "z"]}),
        ({"op": "remove", "path": "/list/0"}, {**_DOCUMENT, "list": ["y"]}),
        ({"op": "remove", "path": "/a/c~1d"}, {**_DOCUMENT, "a": {"b": 1, "~": 3}}),
        ({"op": "remove", "path": "/a/~0"}, {**_DOCUMENT, "a": {"b": 1, "c/d": 2}}),
    ],
)
def test_a_patch_changes_a_copy(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(_DOCUMENT)
    assert apply(_DOCUMENT, [patch]) == expected
    assert repr(_DOCUMENT) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"path": "/nothing", "value": 1},
        {"op": "remove", "path": "/list/2"},
        {"op": "remove", "path": "/list/-"},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "move", "path": "/a/b", "from": "/a/c"},
        {"path": "a", "value": 1},
    ],
)
def test_a_path_that_is_not_there_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        apply(_DOCUMENT, [patch])
