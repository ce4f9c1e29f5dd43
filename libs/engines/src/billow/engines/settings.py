"""Where models and their weights are: the only place of this package that reads the environment.

`BILLOW_MODELS`: folders with models, separated as in `PATH`; without it the `models/` folder of the checkout.
`BILLOW_MODEL_CACHE`: where pulled weights are kept; without it `billow/models` in the user's cache folder.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from billow.runtime.errors import UsageError

MODELS = "BILLOW_MODELS"
CACHE = "BILLOW_MODEL_CACHE"

# <checkout>/libs/engines/src/billow/engines/settings.py; leads nowhere once installed from a wheel.
_CHECKOUT_DEPTH = 5


def model_folders(environ: Mapping[str, str] | None = None, *, source: Path | None = None) -> tuple[Path, ...]:
    """Folders in which to look for models, absolute, the most important first.

    Args:
        environ: Instead of the process's environment.
        source: Instead of this file, when looking for the checkout.

    Raises:
        UsageError: a folder is not there, or nothing is set and this is no checkout.
    """
    value = (os.environ if environ is None else environ).get(MODELS, "")
    if value:
        folders = tuple(Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part)
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(f"{MODELS} names {folder}, which is not a folder; create it or correct the variable")
        return folders
    parents = (source or Path(__file__)).absolute().parents
    default = parents[min(_CHECKOUT_DEPTH, len(parents) - 1)] / "models"
    if not default.is_dir():
        raise UsageError(
            f"no folder with models: there is no {default}; set {MODELS} to the folder that holds them "
            f"(several are separated by {os.pathsep!r})"
        )
    return (default,)


def model_cache(environ: Mapping[str, str] | None = None) -> Path:
    """Folder for pulled weights, absolute; need not exist yet."""
    value = (os.environ if environ is None else environ).get(CACHE, "")
    return Path(value).expanduser().absolute() if value else platformdirs.user_cache_path("billow") / "models"
