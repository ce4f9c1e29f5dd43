"""What runs in a cluster: which models, and how many of each service."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from billow.testkit.models import DETECTOR_TOKEN, OLD, TAGGER, write_pretend_models, write_pretend_tagger

ROOT = Path(__file__).parents[2]
REAL_DETECTOR = "ppocr-v6-det-small_1-0-0"
REAL_RECOGNISER = "ppocr-v6-rec-small_1-0-0"
RULES = "rules_1-0-0"
SERVICES = ("ocr", "layout", "receipt")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Fake OCR models that sleep, or the real ones."""

    real: bool = False
    detect_ms: float = 20.0
    recognise_ms: float = 20.0
    """ms that a run of a fake model takes"""
    tag_ms: float | None = None
    """The same for a fake layout model; None for the real `rules`."""
    replicas: int = 1
    """Processes of each service."""
    environ: Mapping[str, str] = {}
    """More for all services."""
    workers: bool = True
    """Whether the sites have any."""

    @property
    def services(self) -> tuple[str, ...]:
        """`<service>-<number>`"""
        return tuple(f"{service}-{number}" for service in SERVICES for number in range(self.replicas))

    @property
    def detector(self) -> str:
        """token"""
        return REAL_DETECTOR if self.real else DETECTOR_TOKEN

    @property
    def recogniser(self) -> str:
        """token"""
        return REAL_RECOGNISER if self.real else OLD

    @property
    def layout(self) -> str:
        """token"""
        return RULES if self.tag_ms is None else f"{TAGGER}_1-0-0"

    def model_folders(self, folder: Path) -> list[Path]:
        """Where the workers find the models; writes the fake ones into `folder`."""
        if not self.real and not folder.exists():
            write_pretend_models(folder, detect_ms=self.detect_ms, recognise_ms=self.recognise_ms)
            if self.tag_ms is not None:
                write_pretend_tagger(folder, {"0": "store_name"}, run_ms=self.tag_ms)
        return [ROOT / "models"] if self.real else [folder, ROOT / "models"]
