"""Free fonts (SIL Open Font License), taken from wheels; none is stored here."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from PIL import ImageFont

PLEX = "IBMPlexMono-Medium.ttf"
PLEX_BOLD = "IBMPlexMono-Bold.ttf"
ROBOTO = "RobotoMono[wght].ttf"
_PACKAGES = {PLEX: "fontpkg_ibm_plex_mono", PLEX_BOLD: "fontpkg_ibm_plex_mono", ROBOTO: "fontpkg_roboto_mono"}


@cache
def load(name: str, size: float, weight: int | None = None) -> ImageFont.FreeTypeFont:
    """A monospaced font.

    Args:
        name: one of the constants of this module.
        size: px an em.
        weight: 100..700; only `ROBOTO` has that axis.
    """
    path = files(_PACKAGES[name]) / "files" / name
    font = ImageFont.truetype(str(Path(str(path))), size)
    if weight is not None:
        font.set_variation_by_axes([weight])
    return font
