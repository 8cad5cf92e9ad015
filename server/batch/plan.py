"""The parts of a job: one for each file that its patterns name, with the files that are made of it."""

from collections import Counter
from collections.abc import Sequence

from unpickled.server.batch.forms import registry
from unpickled.server.batch.forms.form import Form
from unpickled.server.batch.places.paths import absolute, joined, real
from unpickled.server.batch.places.place import Entry
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.task import Part
from unpickled.server.errors import ServingError
from unpickled.server.quote import quoted

# The folder of refused rows, in the folder of the job.
REFUSED = "refused"


def planned(patterns: Sequence[str], out: str, form: Form | None = None) -> list[Part]:
    """The parts that score the files of these patterns into a folder, in the order of the patterns.

    A target has the name of its source below the folder that the pattern names. Where two would be the same,
    they have their paths below the folder that all sources share.

    Args:
        patterns: Paths, folders, patterns and addresses, as ``Place.list`` takes them.
        out: The folder of the targets.
        form: The form of the targets; without it, each has that of its source.

    Raises:
        ServingError: There is no such file, it is of no form that is read, or it would be overwritten.
    """
    entries = _entries(patterns, out)
    names = _distinct([entry.name for entry in entries], [entry.path for entry in entries])
    targets = _targets(names, form)
    parts = [_part(entry, name, out) for entry, name in zip(entries, targets, strict=True)]
    _check_written(parts)
    return parts


def _check_written(parts: Sequence[Part]) -> None:
    """ServingError where a file that is written is one that is read, by whatever name, or another's."""
    taken = {real(part.source) for part in parts}
    for path in (path for part in parts for path in (part.target, part.refused)):
        if real(path) in taken:
            raise ServingError(
                f"{path} would be overwritten by its answers, or by those of another file: name another "
                "folder with --out"
            )
        taken.add(real(path))


def _entries(patterns: Sequence[str], out: str) -> list[Entry]:
    """The files of all patterns, each once, without those of the job itself."""
    entries: dict[str, Entry] = {}
    for pattern in patterns:
        listed = place_of(pattern).list(pattern)
        # A pattern names some of the files in a folder; a path names one, whatever its form is.
        named = {entry.path: entry for entry in listed if _is_read(entry.path) or len(listed) == 1}
        if not named:
            raise ServingError(_nothing(pattern, bool(listed)))
        for path, entry in named.items():
            entries.setdefault(real(path), entry)
    inside = f"{real(out).rstrip('/')}/"
    others = [entry for path, entry in entries.items() if not path.startswith(inside)]
    return others or list(entries.values())


def _is_read(path: str) -> bool:
    return path.lower().endswith(registry.ENDINGS)


def _nothing(pattern: str, has_others: bool) -> str:
    if has_others:
        return f"no file of {quoted(pattern)} ends with {', '.join(registry.ENDINGS)}"
    return f"there is no file {quoted(pattern)}: name a file, a folder, or a pattern such as big/*.parquet"


def _distinct(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The names, or where two are the same the ends of the paths behind their common folder."""
    if len(set(names)) == len(names):
        return list(names)
    parts = [absolute(path).split("/") for path in paths]
    common = 0
    while len({tuple(part[: common + 1]) for part in parts}) == 1:
        common += 1
    return ["/".join(part[common:]) for part in parts]


def _targets(names: Sequence[str], form: Form | None) -> list[str]:
    """The names of the targets, which keep the ends of their sources only where they would be the same."""
    renamed = [registry.renamed(name, form or registry.form_of(name)) for name in names]
    counts = Counter(renamed)
    return [
        target if counts[target] == 1 or form is None else f"{name}{form.endings[0]}"
        for name, target in zip(names, renamed, strict=True)
    ]


def _part(entry: Entry, name: str, out: str) -> Part:
    return Part(
        source=entry.path,
        target=joined(out, name),
        refused=joined(out, f"{REFUSED}/{name}.jsonl"),
        size=entry.size,
        changed=entry.changed,
    )
