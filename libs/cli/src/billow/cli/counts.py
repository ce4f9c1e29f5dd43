"""Numbers of things in sentences."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 letter`, `1,204 letters`; `many` is said where an s does not make it."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
