"""The parts of a job that are done, as its folder lists them: a job that was killed goes on behind them."""

from collections.abc import Iterator, Sequence

import msgspec

from unpickled.server.batch.places.paths import joined, real
from unpickled.server.batch.places.place import Place
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.errors import ServingError

# The list: the job on its first line, then a line for each part that is done.
FILE = "_parts.jsonl"
# The fields of a task that do not change its files.
_ELSEWHERE = ("model", "runtime")


class Done:
    """The list of one folder, which no other job writes to meanwhile.

    Args:
        place: The place of the folder.
        folder: The folder.
        damaged: Whether a damaged list is taken as far as it can be read, and not refused.

    Attributes:
        results: The parts that are done, by their targets.
        task: The job; None where the folder has no list.
    """

    def __init__(self, place: Place, folder: str, damaged: bool = False) -> None:
        self._place, self._folder = place, folder
        self._path = joined(folder, FILE)
        self.task: Task | None = None
        self.results: dict[str, Result] = {}
        try:
            self._read()
        except msgspec.MsgspecError:
            if not damaged:
                raise ServingError(
                    f"{self._path} is damaged: begin anew with --restart, or name another folder with --out"
                ) from None

    def _read(self) -> None:
        first, *others = [*_lines(self._place.read(self._path) or b""), b""]
        if first:
            self.task = msgspec.json.decode(first, type=Task)
        for line in filter(None, others):
            result = msgspec.json.decode(line, type=Result)
            self.results[result.part.target] = result

    def begin(self, task: Task, parts: Sequence[Part]) -> None:
        """Begin a job, or go on with it.

        Raises:
            ServingError: The folder has the parts of another job, or files that would be overwritten.
        """
        if not self.results:
            # A job of which nothing is done, such as one with a mistake in its options, binds nobody.
            if self.task is None:
                self._check_free(parts)
            self._place.remove(self._path)
            self._place.append(self._path, msgspec.json.encode(task) + b"\n")
        elif self.task is not None and (difference := _difference(self.task, task)):
            raise ServingError(
                f"{self._folder} {difference}: name another folder with --out, or begin anew with --restart"
            )
        self.task = task

    def left(self, parts: Sequence[Part], again: bool = False) -> list[Part]:
        """The parts that are not done.

        Args:
            parts: All parts.
            again: Score parts anew whose source has changed since, or whose target is gone.

        Raises:
            ServingError: A source has changed or a target is gone, and ``again`` is not asked for.
        """
        left = []
        there = self._there()
        for part in parts:
            result = self.results.get(part.target)
            if result is not None and result.part != part:
                _check_changed(result.part, part, again)
            elif result is not None and self._is_there(part.target, there):
                continue
            elif result is not None and not again:
                raise ServingError(
                    f"{part.target} was scored and is not there any more: score such parts again with --again"
                )
            left.append(part)
        return left

    def add(self, result: Result) -> None:
        """Note that a part is done; it is on the disk when this returns."""
        self._place.append(self._path, msgspec.json.encode(result) + b"\n")
        self.results[result.part.target] = result

    def forget(self) -> None:
        """Remove the list, and the files of the parts in it."""
        for result in self.results.values():
            self._place.remove(result.part.target)
            self._place.remove(result.part.refused)
        self._place.remove(self._path)
        self.task, self.results = None, {}

    def _there(self) -> set[str]:
        """The files of the folder, but hidden ones."""
        return {real(entry.path) for entry in self._place.list(self._folder)}

    def _is_there(self, target: str, there: set[str]) -> bool:
        return real(target) in there or bool(self._place.list(target))

    def _check_free(self, parts: Sequence[Part]) -> None:
        there = self._there()
        taken = next((part.target for part in parts if self._is_there(part.target, there)), None)
        if taken is not None:
            raise ServingError(
                f"{taken} is there already, and no job wrote it: name another folder with --out"
            )


def _lines(content: bytes) -> Iterator[bytes]:
    """The whole lines of the list: its last one may be cut off by a power cut."""
    return (line for line in content.split(b"\n")[:-1] if line)


def _check_changed(before: Part, now: Part, again: bool) -> None:
    """ServingError where a target is that of another source, or of a changed one that is not scored again."""
    if before.source != now.source:
        raise ServingError(f"{now.target} has the answers to {before.source}: name another folder with --out")
    if not again:
        raise ServingError(
            f"{now.source} has changed since it was scored: score such parts again with --again"
        )


def _difference(before: Task, now: Task) -> str:
    """A clause that says how the job of the folder differs from this one; empty where it does not."""
    if before.sha256 != now.sha256:
        answered = f"has parts that version {before.version} of {before.name} has scored"
        if (before.name, before.version) == (now.name, now.version):
            return f"{answered}, whose file has changed since"
        return f"{answered} (--version {before.version} goes on with it)"
    fields = [name for name in Task.__struct_fields__ if name not in _ELSEWHERE]
    changed = [name for name in fields if getattr(before, name) != getattr(now, name)]
    if not changed:
        return ""
    if changed == ["logged"]:
        log = None if before.logged is None else before.logged.log
        return f"has parts that were scored {f'with --log {log.log_folder}' if log else 'without --log'}"
    name = changed[0]
    return f"has parts that were scored with other options ({name} was {_shown(getattr(before, name))})"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
