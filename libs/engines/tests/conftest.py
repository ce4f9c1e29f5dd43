"""Models and wheels made on the spot, and a pip that sees nothing but a local folder."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from billow.engines.manifest import Manifest, read_manifest


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place where pip looks."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def make_wheel(wheelhouse: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Builds `toymodels-1.0` with these members."""

    def make(members: Mapping[str, bytes]) -> Path:
        path = wheelhouse / "toymodels-1.0-py3-none-any.whl"
        info = "toymodels-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toymodels\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return path

    return make


@pytest.fixture
def wheel_model(tmp_path: Path) -> Callable[[str, str, bytes], Manifest]:
    """A model whose weights are a member of `toymodels-1.0`."""

    def make(name: str, path: str, data: bytes) -> Manifest:
        return _write(
            tmp_path / name,
            f'name = "{name}"\nversion = "1.0.0"\ntask = "text-detection"\nruntimes = ["openvino", "onnxruntime"]\n'
            'licence = "Apache-2.0"\ndescription = "A toy."\n[weights]\nkind = "wheel"\n'
            f'package = "toymodels"\npackage_version = "1.0"\npath = "{path}"\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nsize = {len(data)}\n',
        )

    return make


@pytest.fixture
def python_model(tmp_path: Path) -> Callable[..., Manifest]:
    """A model of the python runtime from its source files."""

    def make(
        files: Mapping[str, str], *, folder: str = "toy", version: str = "1.0.0", entrypoint: str = "toy:Toy"
    ) -> Manifest:
        for name, source in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return _write(
            tmp_path / folder,
            f'name = "toy"\nversion = "{version}"\ntask = "token-classification"\nruntimes = ["python"]\n'
            f'licence = "Apache-2.0"\ndescription = "A toy."\n[python]\nentrypoint = "{entrypoint}"\n',
        )

    return make


def _write(folder: Path, text: str) -> Manifest:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.toml").write_text(text)
    return read_manifest(folder / "manifest.toml")
