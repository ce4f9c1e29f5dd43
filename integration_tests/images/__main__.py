"""`python -m integration_tests.images`: a running Docker engine and the images that the tests start.

What is there already is left alone, so a second run takes a moment. Where an image registry answers, the images are
pulled; where none can be reached, they are made here from packages, under their official names.
"""

import subprocess
import sys
import time
from collections.abc import Callable

from integration_tests.images import NATS, POSTGRES, nats_image, postgres_image
from integration_tests.images.engine import EngineError, check_room, ensure_engine, has_image, pull, registry_has

_MAKERS: dict[str, Callable[[str], None]] = {NATS: nats_image.make, POSTGRES: postgres_image.make}


def ensure_images() -> None:
    """Start Docker where it does not run, and pull or make what is missing.

    Raises:
        EngineError: Docker cannot be installed or started, the disk is full, or an image is not to be had.
    """
    ensure_engine()
    check_room()
    for image, make in _MAKERS.items():
        if has_image(image):
            continue
        started = time.monotonic()
        pulled = registry_has(image) and pull(image)
        if not pulled:
            make(image)
        how = "pulled" if pulled else "made here"
        sys.stderr.write(f"{image} {how} in {time.monotonic() - started:.1f} s\n")


def main() -> int:
    """Returns the exit code: 0, or 1 with a message that says what to do."""
    try:
        ensure_images()
    except EngineError as e:
        sys.stderr.write(f"{e}\n")
        return 1
    except subprocess.CalledProcessError as e:
        sys.stderr.write(f"{e}\n{e.stderr or ''}\n")
        return 1
    except OSError as e:
        sys.stderr.write(f"The images cannot be made: {e}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
