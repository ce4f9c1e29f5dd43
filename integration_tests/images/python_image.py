"""Debian's Python 3.11 as an image: the base of our own, where the official one cannot be pulled."""

import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

from integration_tests.images.engine import EngineError, apt, blocks, import_image

_RELEASE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_CHANGES = (
    # Package installers bring certificates of their own; they shall trust whom this machine trusts.
    f"ENV PIP_CERT={_BUNDLE} SSL_CERT_FILE={_BUNDLE} LANG=C.UTF-8",
    'CMD ["python3"]',
)


def make(image: str) -> None:
    """Make the image; takes about a minute.

    Raises:
        EngineError: this is no Debian system, the packages are not to be had, or the engine refuses the image.
    """
    if shutil.which("mmdebstrap") is None:
        apt("update")
        apt("install", "-y", "--no-install-recommends", "mmdebstrap")
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    if bundle := _trusted():
        options.append(f"--customize-hook=upload {bundle} {_BUNDLE}")
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryDirectory(prefix="billow-image-") as folder:
        layer = Path(folder) / "layer.tar"
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={_PACKAGES}",
            *options,
            _RELEASE,
            str(layer),
        ]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EngineError(f"mmdebstrap cannot make the system of {image}:\n{done.stderr}")
        import_image(image, blocks(layer), _CHANGES)


def _trusted() -> Path | None:
    """This machine's certificate authorities."""
    name = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return Path(name) if name and Path(name).is_file() else None
