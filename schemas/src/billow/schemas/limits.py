"""Sizes that both ends must agree on."""

MAX_DOCUMENT_BYTES = 25 * 1024 * 1024
"""bytes of one original; `BILLOW_MAX_BYTES` sets another on each side."""
