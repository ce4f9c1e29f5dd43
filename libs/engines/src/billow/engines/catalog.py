"""Which models there are."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from billow.engines.errors import ManifestError, UnknownModelError
from billow.engines.manifest import FILE_NAME, Manifest, read_manifest


class Catalog:
    """The models found in some folders, read once.

    A folder may itself be a model (it has a `manifest.toml`) or hold models, one folder each.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        """Read every manifest.

        One broken manifest does not spoil the others: it is kept in `broken`, and raised when its model is asked for.

        Raises:
            ManifestError: two manifests say that they are the same version of the same model.
        """
        self.folders = tuple(folders)
        self._models: dict[str, Manifest] = {}
        self._broken: dict[str, ManifestError] = {}
        for path in _manifest_paths(self.folders):
            try:
                manifest = read_manifest(path)
            except ManifestError as e:
                self._broken[path.parent.name] = e
                continue
            if other := self._models.get(manifest.token):
                raise ManifestError(
                    f"{path} and {other.folder / FILE_NAME} are both {manifest.name} {manifest.version}; "
                    "give one of them another version"
                )
            self._models[manifest.token] = manifest

    @property
    def broken(self) -> tuple[ManifestError, ...]:
        """What is wrong with the manifests that were left out."""
        return tuple(self._broken.values())

    def list(self) -> tuple[Manifest, ...]:
        """All models by name, the newest version of each first."""
        newest_first = sorted(self._models.values(), key=lambda model: model.release, reverse=True)
        return tuple(sorted(newest_first, key=lambda model: model.name))

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self.list())

    def get(self, name_or_token: str) -> Manifest:
        """The newest version of a name (`ppocr-v6-det-small`), or what a token (`ppocr-v6-det-small_1-0-0`) names.

        Raises:
            UnknownModelError: no folder has it; the message lists what there is.
            ManifestError: there is such a folder, but its manifest is broken.
        """
        if exact := self._models.get(name_or_token):
            return exact
        for model in self.list():
            if model.name == name_or_token:
                return model
        if fault := self._broken.get(name_or_token.partition("_")[0]):
            raise fault
        raise UnknownModelError(self._unknown(name_or_token))

    def _unknown(self, asked: str) -> str:
        names = [*dict.fromkeys(model.name for model in self.list())]
        if not names:
            looked = ", ".join(str(folder) for folder in self.folders) or "no folder at all"
            return f"no model {asked!r}: found none in {looked}; set BILLOW_MODELS to the folder that holds them"
        near = difflib.get_close_matches(asked, [*names, *self._models], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"no model {asked!r}{hint} (there are: {', '.join(names)})"


def _manifest_paths(folders: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for path in (folder / FILE_NAME, *sorted(folder.glob(f"*/{FILE_NAME}"))):
            if path.is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path
