"""Memory and descriptors of the server's processes over time."""

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """The state of one process: seconds since the start of the soak, resident MiB, open descriptors."""

    at: float
    resident_mb: float
    descriptors: int


class Watch:
    """Samples of the main process and of every worker, by process id."""

    def __init__(self, main: int) -> None:
        self.main = main
        self.samples: dict[int, list[Sample]] = defaultdict(list)

    def workers(self) -> list[int]:
        """The worker processes that live."""
        with suppress(psutil.Error):
            children = psutil.Process(self.main).children()
            return [child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())]
        return []

    def look(self, at: float) -> None:
        """Add a sample of each process."""
        for pid in [self.main, *self.workers()]:
            with suppress(OSError, psutil.Error):
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                resident = pages * os.sysconf("SC_PAGE_SIZE") / MIB
                self.samples[pid].append(Sample(round(at, 1), round(resident, 1), descriptors))

    def grown(self, settled: float) -> dict[int, tuple[Sample, Sample]]:
        """(first sample after ``settled`` seconds of its life, last sample) of each process still there."""
        living = {self.main, *self.workers()}
        grown = {}
        for pid, samples in self.samples.items():
            later = [sample for sample in samples if sample.at >= samples[0].at + settled]
            if pid in living and len(later) > 1:
                grown[pid] = (later[0], later[-1])
        return grown
