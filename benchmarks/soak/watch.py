"""Memory and descriptors of the server's processes over time."""

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 2**20
# Words of the command lines of children that are no workers.
_WRITER = "payloads.writer"
_OTHERS = (_WRITER, "resource_tracker")


@dataclass(frozen=True)
class Sample:
    """The state of one process: seconds since the start of the soak, resident MiB, open descriptors."""

    at: float
    resident_mb: float
    descriptors: int


class Watch:
    """Samples of the main process, every worker and the log's writer, by process id."""

    def __init__(self, main: int) -> None:
        self.main = main
        self.samples: dict[int, list[Sample]] = defaultdict(list)
        self._names = {main: "the main process"}

    def workers(self) -> list[int]:
        """The worker processes that live."""
        return [pid for pid, command in self._children() if not any(name in command for name in _OTHERS)]

    def writers(self) -> list[int]:
        """The process that writes the payload log, where there is one."""
        return [pid for pid, command in self._children() if _WRITER in command]

    def _children(self) -> list[tuple[int, str]]:
        """(process id, command line) of each child."""
        with suppress(psutil.Error):
            children = psutil.Process(self.main).children()
            return [(child.pid, " ".join(child.cmdline())) for child in children]
        return []

    def name(self, pid: int) -> str:
        """A process by its part in the server, even if it has ended."""
        return self._names[pid]

    def look(self, at: float) -> None:
        """Add a sample of each process."""
        workers, writers = self.workers(), self.writers()
        self._names |= {pid: f"worker {pid}" for pid in workers} | {pid: f"writer {pid}" for pid in writers}
        for pid in [self.main, *workers, *writers]:
            with suppress(OSError, psutil.Error):
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                resident = pages * os.sysconf("SC_PAGE_SIZE") / MIB
                self.samples[pid].append(Sample(round(at, 1), round(resident, 1), descriptors))

    def grown(self, settled: float) -> dict[int, tuple[Sample, Sample]]:
        """(first sample after ``settled`` seconds of its life, last sample) of each process still there."""
        living = {self.main, *self.workers(), *self.writers()}
        grown = {}
        for pid, samples in self.samples.items():
            later = [sample for sample in samples if sample.at >= samples[0].at + settled]
            if pid in living and len(later) > 1:
                grown[pid] = (later[0], later[-1])
        return grown
