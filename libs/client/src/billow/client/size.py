"""How large a document may be."""

from billow.runtime.errors import PermanentError


def check_size(size: int, max_bytes: int) -> None:
    """Let pass what is small enough.

    Raises:
        PermanentError: `file_too_large`; of a document of which at least `size` bytes were seen.
    """
    if size > max_bytes:
        raise PermanentError(
            f"The file has {size:,} bytes or more, {max_bytes:,} are allowed. Send a smaller one, or raise "
            "BILLOW_MAX_BYTES here and for the OCR service.",
            code="file_too_large",
        )
