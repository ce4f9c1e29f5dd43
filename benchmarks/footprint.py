"""Memory of a process and all below it, by readable names."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath

import psutil

from benchmarks.extraction import RunError


@dataclass(frozen=True)
class Memory:
    """bytes"""

    rss: int = 0
    """Resident: shared pages count in full."""
    pss: int = 0
    """Proportional: a page shared by n processes counts 1/n. Equal to `rss` where the system cannot tell."""

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss)

    def highest(self, other: "Memory") -> "Memory":
        """The larger of each."""
        return Memory(max(self.rss, other.rss), max(self.pss, other.pss))


@dataclass(frozen=True)
class Footprint:
    """One look: name -> memory; equal names are numbered from the second on."""

    processes: dict[str, Memory]

    @property
    def total(self) -> Memory:
        """Sum over the processes."""
        return sum(self.processes.values(), Memory())


@dataclass
class Peaks:
    """The most that was seen, for each process and for the sum."""

    processes: dict[str, Memory] = field(default_factory=dict[str, Memory])
    total: Memory = Memory()

    def add(self, look: Footprint) -> None:
        """Take one more look into account."""
        for name, memory in look.processes.items():
            self.processes[name] = self.processes.get(name, Memory()).highest(memory)
        self.total = self.total.highest(look.total)


def process_name(command: list[str]) -> str:
    """`python -m billow.services.worker rules` -> `worker rules`, `/x/bin/nats-server -p 1` -> `nats-server`."""
    if not command:
        return "?"
    if "-m" in command[:-1]:
        at = command.index("-m") + 1
        name = "billow" if command[at] == "billow.cli" else command[at].rpartition(".")[2]
        words = [name, *(word for word in command[at + 1 : at + 2] if not word.startswith("-"))]
        return " ".join(words)
    return PurePath(command[0]).name


def footprint(pid: int) -> Footprint:
    """Look at a process and everything below it; those that end meanwhile are left out.

    Raises:
        RunError: there is no such process.
    """
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess as e:
        raise RunError(f"There is no process {pid} (any more).") from e
    seen: Counter[str] = Counter()
    found: dict[str, Memory] = {}
    for process in family:
        try:
            name, memory = process_name(process.cmdline()), _memory(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name} #{seen[name]}"] = memory
    return Footprint(found)


def _memory(process: psutil.Process) -> Memory:
    info = process.memory_full_info()
    rss = int(info.rss)
    return Memory(rss, int(getattr(info, "pss", rss)))
