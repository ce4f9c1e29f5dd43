"""What can be wrong with an image, said so that the submitter can do something about it."""

from billow.bus.objects import ObjectInfo, digest_bytes
from billow.runtime.errors import PermanentError, TransientError


def check_readable(key: str, info: ObjectInfo, sha256: str | None, max_bytes: int | None) -> None:
    """Refuse what must not be fetched.

    Raises:
        PermanentError: `image_missing` for a link, `image_too_large`, or `image_damaged` for another sha256.
    """
    if info.options is not None and info.options.link is not None:
        raise PermanentError(
            f"Image {key!r} is a link to another object, and links are not followed. Put the bytes themselves.",
            code="image_missing",
        )
    size = info.size or 0
    if max_bytes is not None and size > max_bytes:
        raise PermanentError(
            f"Image {key!r} has {size:,} bytes, and at most {max_bytes:,} are accepted. Send a smaller one.",
            code="image_too_large",
        )
    if sha256 is not None and (digest_bytes(info.digest or "") or b"").hex() != sha256.lower():
        raise damaged(key, "it is not the one with the sha256 that was announced")


def missing(key: str) -> PermanentError:
    """There is nothing under the key."""
    return PermanentError(
        f"Image {key!r} is not in the store. Put it there before the event that names it, and submit again.",
        code="image_missing",
        retryable=True,
    )


def damaged(key: str, why: str) -> PermanentError:
    """The bytes are not what they should be; `why` completes the sentence."""
    return PermanentError(
        f"Image {key!r} is damaged: {why}. Put it again and submit again.", code="image_damaged", retryable=True
    )


def contended(key: str) -> TransientError:
    """Others replace the key faster than we can read or write it."""
    return TransientError(f"Image {key!r} is being replaced over and over; try again in a moment.", delay=2)
