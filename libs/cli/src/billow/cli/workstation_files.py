"""What a workstation's folder holds after joining; pure but for `write`.

```
leaf.env           of nats-server, for leaf.conf: name, addresses, and the hub with the password
tls/ca.crt         the CA that signed the hub's certificate
worker.env         of all workers
workers/<n>.env    of one worker: model, device; <n> is gpu<card>-<slice> or cpu-<number>
```

Every `.env` is read alike by systemd, by docker compose and by a shell: one `NAME='value'` a line.
"""

import json
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from billow.cli.workstation_token import SiteModel, SiteToken
from billow.runtime.errors import UsageError

_SECRET = 0o600
_PUBLIC = 0o644
"""For the certificate: nats-server reads it as a user of its own."""
WORKERS = "workers"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the workstation has, and where its leaf listens."""

    gpus: int = 0
    slices: int = 2
    """workers that share one GPU"""
    gpu_memory: int = 0
    """MB of one GPU, split among its slices; 0 sets no limit"""
    threads: int = 0
    """CPU threads of each worker's model; 0 takes all cores"""
    listen: str = "127.0.0.1:4222"
    monitor: str = "127.0.0.1:8222"


def files(token: SiteToken, machine: Machine) -> dict[str, str]:
    """Path in the folder -> text.

    Raises:
        UsageError: there are fewer slices than models.
    """
    found = {
        "leaf.env": _env(
            {
                "BILLOW_NATS_NAME": f"leaf-{token.site}",
                "BILLOW_NATS_LISTEN": machine.listen,
                "BILLOW_NATS_MONITOR": machine.monitor,
                "BILLOW_NATS_HUB": json.dumps(token.urls),
            }
        ),
        "tls/ca.crt": token.ca or _known_authorities(),
        "worker.env": _env(
            {
                "BILLOW_NATS_URL": f"nats://{machine.listen}",
                "BILLOW_NATS_DOMAIN": token.domain,
                "BILLOW_NATS_INBOX_PREFIX": token.inbox_prefix,
            }
        ),
    }
    for name, values in workers(token.models, machine).items():
        found[f"{WORKERS}/{name}.env"] = _env(values)
    return found


def workers(models: tuple[SiteModel, ...], machine: Machine) -> dict[str, dict[str, str]]:
    """Name -> environment of each worker: one a GPU slice, the models in turns; on the CPU one a model.

    Raises:
        UsageError: there are fewer slices than models for them.
    """
    on_gpu = [model for model in models if model.gpu and machine.gpus]
    on_cpu = [model for model in models if model not in on_gpu]
    threads = {"BILLOW_THREADS": str(machine.threads)} if machine.threads else {}
    found: dict[str, dict[str, str]] = {}
    # Models that no GPU helps come first, so that `cpu-0` is the same one with GPUs and without.
    for number, model in enumerate(sorted(on_cpu, key=lambda model: model.gpu)):
        found[f"cpu-{number}"] = {"BILLOW_MODEL": model.name, "BILLOW_DEVICE": "cpu", **threads}
    places = [(card, part) for part in range(machine.slices) for card in range(machine.gpus)]
    if on_gpu and len(places) < len(on_gpu):
        raise UsageError(
            f"{len(places)} slices of GPUs cannot hold {len(on_gpu)} models: take more --slices, or fewer --model."
        )
    memory = {"BILLOW_GPU_MEMORY": str(machine.gpu_memory // machine.slices)} if machine.gpu_memory else {}
    # All first slices before all second ones, so that every model is spread over the cards; a card that would get the
    # same model twice begins with the next.
    for number, (card, part) in enumerate(places if on_gpu else []):
        turn = number + (part if machine.gpus % len(on_gpu) == 0 else 0)
        found[f"gpu{card}-{part}"] = {
            "BILLOW_MODEL": on_gpu[turn % len(on_gpu)].name,
            "BILLOW_DEVICE": "cuda",
            "CUDA_VISIBLE_DEVICES": str(card),
            **memory,
            **threads,
        }
    return found


def write(folder: Path, contents: Mapping[str, str]) -> None:
    """Write all files, readable for their owner alone but the certificate, and remove workers that are not among them.

    Raises:
        UsageError: a file cannot be written.
    """
    try:
        for name, text in contents.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _replace(place, text, _PUBLIC if place.suffix == ".crt" else _SECRET)
        for old in (folder / WORKERS).glob("*.env"):
            if f"{WORKERS}/{old.name}" not in contents:
                old.unlink()
    except OSError as e:
        raise UsageError(f"{e.filename or folder} cannot be written: {e.strerror}. Be root, or name --folder.") from e


def _replace(place: Path, text: str, mode: int) -> None:
    """In one step, and never readable for others in between."""
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _env(values: Mapping[str, str]) -> str:
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def _known_authorities() -> str:
    """The CAs that this machine knows."""
    paths = ssl.get_default_verify_paths()
    bundle = paths.cafile or paths.openssl_cafile
    try:
        return Path(bundle).read_text()
    except OSError as e:
        raise UsageError(
            "The token names no CA, and this machine knows none. Install ca-certificates, or make a token with --ca."
        ) from e
