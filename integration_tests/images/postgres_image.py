"""Debian's PostgreSQL as an image, straight from the packages: no base system is set up, no package is configured.

apt names what PostgreSQL would need on an empty system. Of that only the libraries are taken; busybox is the shell. The
files go from the packages into the layer without being unpacked on this machine's disk.
"""

import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from integration_tests.images.engine import EngineError, apt, blocks, import_image

VERSION = "15"
_UID = 999
"""Of the user postgres, as in the official image."""
_BIN = f"/usr/lib/postgresql/{VERSION}/bin"
_DATA = "/var/lib/postgresql/data"
_SERVER = (f"postgresql-{VERSION}", f"postgresql-client-{VERSION}", "busybox-static", "tzdata")
_NOT_NEEDED = re.compile(r"lib(llvm|z3|perl|json-perl|c-l10n|gdbm|semanage|sepol|db5|pam-modules)")
"""Of the libraries: the compiler for expressions, which is switched off, and what only setting up packages needs."""
_LEFT_OUT = re.compile(r"\./(usr/share/(doc|man|locale|lintian|postgresql-common)|etc|var|run)(/|$)|.*/bitcode(/|$)")
_APPLETS = ("sh", "cat", "ls", "grep", "sed", "rm", "sleep", "ps", "id", "env", "kill", "printf", "mkdir")

_ENTRYPOINT = """#!/bin/sh
# Makes the database on the first start, as the official image does, then becomes the server.
set -eu
[ "${1:-}" = postgres ] && shift
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?Set POSTGRES_PASSWORD.}"
  user=${POSTGRES_USER:-postgres}
  name=${POSTGRES_DB:-$user}
  printf '%s\\n' "$POSTGRES_PASSWORD" >/tmp/secret
  initdb --username="$user" --pwfile=/tmp/secret --encoding=UTF8 --locale=C.UTF-8 --no-sync \\
    --auth-host=scram-sha-256 --auth-local=trust >/dev/null
  rm /tmp/secret
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  if [ "$name" != postgres ]; then
    printf 'CREATE DATABASE "%s"\\n' "$name" | postgres --single -j -E postgres >/dev/null
  fi
  echo 'PostgreSQL init process complete; ready for start up.'
fi
exec postgres -c listen_addresses='*' -c jit=off "$@"
"""
_CHANGES = (
    "USER postgres",
    f"ENV PATH={_BIN}:/usr/bin:/bin PGDATA={_DATA} LANG=C.UTF-8",
    f"VOLUME {_DATA}",
    "EXPOSE 5432",
    'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]',
    'CMD ["postgres"]',
)


def make(image: str) -> None:
    """Make the image; it heeds POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB as the official one.

    Raises:
        EngineError: the packages are not to be had, or the engine refuses the image.
    """
    with tempfile.TemporaryDirectory(prefix="billow-image-") as name:
        folder = Path(name)
        apt("download", *_wanted(folder), folder=folder)
        layer = folder / "layer.tar"
        with tarfile.open(layer, mode="w") as tar:
            seen: set[str] = set()
            for package in sorted(folder.glob("*.deb")):
                _copy(package, tar, seen)
            _add_our_own(tar)
        import_image(image, blocks(layer), _CHANGES)


def _wanted(folder: Path) -> list[str]:
    try:
        return _needed_on_an_empty_system(folder)
    except EngineError:
        # The lists of packages may never have been fetched.
        apt("update")
        return _needed_on_an_empty_system(folder)


def _needed_on_an_empty_system(folder: Path) -> list[str]:
    status = folder / "nothing-installed"
    status.touch()
    # What was downloaded before would not be named.
    places = ("-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={folder}")
    # A line is: 'address' name_version_arch.deb size checksum
    lines = apt("install", "--print-uris", "--no-install-recommends", *places, *_SERVER).splitlines()
    names = [line.split()[1].split("_")[0] for line in lines if line]
    libraries = [name for name in names if name.startswith(("lib", "zlib")) and not _NOT_NEEDED.match(name)]
    return [*_SERVER, *libraries]


def _copy(package: Path, layer: tarfile.TarFile, seen: set[str]) -> None:
    """Add a package's files; the engine takes no path twice, and packages share folders."""
    unpacked = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    assert unpacked.stdout is not None
    with unpacked.stdout, tarfile.open(fileobj=unpacked.stdout, mode="r|") as files:
        for entry in files:
            if entry.name not in seen and not _LEFT_OUT.match(entry.name):
                seen.add(entry.name)
                layer.addfile(entry, files.extractfile(entry) if entry.isreg() else None)
    if unpacked.wait() != 0:
        raise EngineError(f"dpkg-deb cannot read {package.name}.")


def _add_our_own(layer: tarfile.TarFile) -> None:
    for path, mode, owner in (
        ("tmp", 0o1777, 0),
        ("var/lib/postgresql", 0o755, _UID),
        (_DATA.lstrip("/"), 0o700, _UID),
        ("var/run/postgresql", 0o775, _UID),
    ):
        folder = tarfile.TarInfo(path)
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, mode, owner, owner
        layer.addfile(folder)
    for path, mode, text in (
        ("etc/passwd", 0o644, f"root:x:0:0::/:/bin/sh\npostgres:x:{_UID}:{_UID}::/var/lib/postgresql:/bin/sh\n"),
        ("etc/group", 0o644, f"root:x:0:\npostgres:x:{_UID}:\n"),
        ("usr/local/bin/docker-entrypoint.sh", 0o755, _ENTRYPOINT),
    ):
        file = tarfile.TarInfo(path)
        content = text.encode()
        file.mode, file.size = mode, len(content)
        layer.addfile(file, io.BytesIO(content))
    for applet in _APPLETS:
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        layer.addfile(link)
