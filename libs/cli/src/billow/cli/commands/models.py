"""`billow models`: what can be plugged in."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billow.cli import weights
from billow.cli.stack.stack import DEFAULT_MODELS
from billow.engines.catalog import Catalog
from billow.engines.settings import model_folders


def pull(names: Sequence[str], out: Console, err: Console) -> None:
    """Fetch and verify weights and print where they lie.

    Raises:
        UsageError: a name that nobody knows.
        WeightsError: they cannot be fetched, or are not what the manifest says.
    """
    models = weights.manifests(names or DEFAULT_MODELS)
    pulled = weights.pull(models, err)
    for model in models:
        place = pulled.get(model.token)
        # Not `print`: rich expands tabs and wraps.
        out.file.write(f"{model.token}\t{place or 'needs no weights'}\n")


def show_list(out: Console) -> None:
    """Print every model that the folders hold, and what is wrong with those that cannot be read."""
    catalog = Catalog(model_folders())
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("model", "task", "runtimes", "licence", "weights"):
        table.add_column(column, no_wrap=column == "model")
    for model in catalog:
        state = "none needed" if model.weights is None else "cached"
        if model in weights.missing([model]):
            state = "not pulled"
        table.add_row(model.token, model.task, ", ".join(model.runtimes), model.licence, state)
    out.print(table)
    for error in catalog.broken:
        out.print(Text(str(error), style="red"))
