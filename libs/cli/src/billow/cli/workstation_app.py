"""`billow workstation ...`: sites outside of the cluster that dial in and serve models."""

from pathlib import Path
from typing import Annotated

import typer

from billow.cli.commands import workstation as workstation_commands
from billow.cli.console import err, exit_with
from billow.cli.workstation_files import Machine

app = typer.Typer(
    help="Workstations outside of the cluster: they dial in with one token, and serve models.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="deploy/workstation/install.sh does all of it on a workstation; docs/workstation.md tells the story.",
)


@app.command()
def token(
    site: Annotated[str, typer.Argument(help="Name of the site, a-z, 0-9, - and _.", show_default=False)],
    hub: Annotated[
        list[str],
        typer.Option(
            help="Where leaves dial in: tls://HOST:7422 or wss://HOST:443. Once a server.", show_default=False
        ),
    ],
    ca: Annotated[
        Path | None,
        typer.Option(help="CA that signed the hub's certificate, PEM.", show_default="those that every machine knows"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model that the site may serve. Once for each.", show_default="the three default ones"),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the site's password.", show_default="a new one is made and shown")
    ] = None,
    domain: Annotated[str, typer.Option(help="JetStream domain of the hub.")] = "hub",
) -> None:
    """Make the token with which a site joins: the hub's addresses, its CA, a user, a password, and the models.

    Prints the token on stdout and, on stderr, what has to be told to the hub first. Nothing is changed and no stack is
    needed. Who has the token may serve these models, and nothing else: it cannot read documents, images or records.

    Example: [cyan]billow workstation token desk --hub tls://hub-0.example.org:7422 --ca ca.crt > desk.token[/]
    """
    invitation = workstation_commands.Invitation(
        site=site, hub=tuple(hub), models=tuple(model or ()), ca=ca, password_file=password_file, domain=domain
    )
    exit_with(lambda: workstation_commands.invite(invitation, err))


@app.command()
def join(
    text: Annotated[
        str, typer.Argument(metavar="TOKEN", help="What `billow workstation token` printed; - reads it from stdin.")
    ] = "-",
    folder: Annotated[Path, typer.Option(help="Where the configuration goes.")] = Path("/etc/billow"),
    gpus: Annotated[int, typer.Option(min=0, max=64, help="GPUs of this machine; 0 runs all models on the CPU.")] = 0,
    slices: Annotated[int, typer.Option(min=1, max=64, help="Workers that share one GPU.")] = 2,
    gpu_memory: Annotated[
        int, typer.Option(min=0, metavar="MB", help="Memory of one GPU, split among its slices; 0: no limit.")
    ] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of each worker's model; 0: all cores.")] = 0,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Of the models in the token, serve this one. Once for each.", show_default="all"),
    ] = None,
    listen: Annotated[str, typer.Option(help="Where the site's workers reach its leaf.")] = "127.0.0.1:4222",
    monitor: Annotated[str, typer.Option(help="Where the leaf tells its health.")] = "127.0.0.1:8222",
) -> None:
    """Write this workstation's configuration from a token: for its leaf, and for one worker a GPU slice.

    Prints the names of the workers on stdout, for `systemctl enable --now billow-worker@NAME`. What has a secret is
    readable for its owner alone. Joining again, with another token or other numbers, replaces it.

    Examples: [cyan]billow workstation join - < desk.token[/]
    [cyan]billow workstation join - --gpus 2 --slices 2 --gpu-memory 12000 < desk.token[/]
    """
    machine = Machine(gpus=gpus, slices=slices, gpu_memory=gpu_memory, threads=threads, listen=listen, monitor=monitor)
    exit_with(
        lambda: workstation_commands.join(
            workstation_commands.read_token(text), folder, machine, tuple(model or ()), err
        )
    )
