"""The latest run of a command: a stored document, its pictures, and the block of the page that shows it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from benchmarks.errors import BenchmarkError
from benchmarks.reporting import markdown, report

Run = TypeVar("Run", bound=Struct)


def _none(run: Struct) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Latest(Generic[Run]):
    """``name`` is that of the block, and of a folder of its own: the documents above it are runs of servers.

    ``kind``: the document. ``block``: a run, and the way from the page to that folder -> Markdown.
    ``pictures``: a run -> SVG by file name.
    """

    name: str
    kind: type[Run]
    block: Callable[[Run, str], str]
    pictures: Callable[[Run], Mapping[str, str]] = _none

    def file(self, folder: Path = report.RESULTS) -> Path:
        """The document, below the folder of results."""
        return folder / self.name / "latest.json"

    def is_stored(self, folder: Path = report.RESULTS) -> bool:
        """Whether a run is stored."""
        return self.file(folder).is_file()

    def stored(self, folder: Path = report.RESULTS) -> Run:
        """The stored run; raises BenchmarkError where it cannot be read."""
        try:
            return msgspec.json.decode(self.file(folder).read_bytes(), type=self.kind)
        except (OSError, msgspec.DecodeError) as error:
            raise BenchmarkError(f"{self.file(folder)} cannot be read: {error}") from None

    def save(self, run: Run, folder: Path = report.RESULTS, root: Path = report.ROOT) -> list[Path]:
        """Store a run, and write its pictures and its block; the files that were written."""
        file = self.file(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        report.put_all({file: msgspec.json.format(msgspec.json.encode(run), indent=1).decode() + "\n"})
        return [file, *self.write(folder, root)]

    def write(self, folder: Path = report.RESULTS, root: Path = report.ROOT) -> list[Path]:
        """Write the pictures of the stored run, and its block into the page that has a place for it."""
        page, home = markdown.holder(root, self.name), self.file(folder).parent
        pictures = {home / name: text for name, text in self.pictures(self.stored(folder)).items()}
        report.put_all({**pictures, page: self.page_text(page, folder)})
        return [*pictures, page]

    def page_text(self, page: Path, folder: Path = report.RESULTS) -> str:
        """A page of the documentation with the block of the stored run."""
        way = Path(os.path.relpath(self.file(folder).parent, page.parent)).as_posix()
        return markdown.filled(page, self.name, self.block(self.stored(folder), way))
