"""serving.toml: which versions of a model are loaded, and which of them answers what."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from unpickled.server.artifact.manifest import Feature
from unpickled.server.config import hint
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle.disk import opened

FILE = "serving.toml"
# The label that answers plain /predict where there is no traffic.
STABLE = "stable"
VERSION = re.compile(r"0|[1-9][0-9]{0,17}")
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")

# Of 18 digits at most, as VERSION says.
Version = Annotated[int, Meta(ge=0, lt=10**18)]
Count = Annotated[int, Meta(ge=1, lt=10**18)]
Share = Annotated[float, Meta(ge=0, le=1)]
# How far from 1 shares may add up: those of people are rounded.
_TOLERANCE = 1e-6
# Bytes of a file; dots of a line, as the time to read a key grows with the square of its parts.
_LONGEST = 16_384
_DOTS = 256
# Letters of a value or a message in a sentence, and names in a list.
_SHOWN = 80
_TOLD = 200
_FEW = 5


class Shadowing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version (or the label of one) that runs on a share of plain requests, unseen by callers."""

    version: Version | str
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Serving(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one serving.toml asks for. The keys of ``traffic`` are labels, or versions in digits."""

    load: Annotated[
        Literal["newest", "all"] | Count | tuple[Version, ...],
        Meta(description='"newest", "all", how many of the newest (1 or more), or a list of versions'),
    ] = "newest"
    retired: Annotated[tuple[Version, ...], Meta(description="a list of versions, such as [1, 2]")] = ()
    labels: Annotated[
        dict[str, Version],
        Meta(description='a table of labels and their versions: stable = 3, or "v1.2" = 3 with a dot'),
    ] = {}
    traffic: Annotated[
        dict[str, Share],
        Meta(description="a table of labels or versions and their shares, 0 to 1: stable = 0.95"),
    ] = {}
    shadow: Annotated[
        Shadowing | None,
        Meta(description="a table: version = 4 (or a label), share = 1.0 (above 0, at most 1)"),
    ] = None

    def number(self, word: int | str) -> int:
        """The version that a label, or a version in digits, stands for; ServingError: no such label."""
        if isinstance(word, int):
            return word
        if VERSION.fullmatch(word):
            return int(word)
        if word not in self.labels:
            known = f"the labels are {_few(self.labels)}" if self.labels else "there are none yet"
            number = ", and it is no version number" if any(map(str.isdigit, word)) else ""
            raise ServingError(f"there is no label {_shown(word)}{number}: {known}")
        return self.labels[word]

    def required(self) -> tuple[int, ...]:
        """The versions that must load, ascending: those that anything in the file names."""
        return tuple(sorted({self.number(word) for _, word in self.named()}))

    def shares(self) -> dict[int, float]:
        """Share of plain /predict by version, without those of 0; {} without traffic."""
        shares: dict[int, float] = {}
        for word, share in self.traffic.items():
            if share:
                number = self.number(word)
                shares[number] = shares.get(number, 0.0) + share
        return shares

    def named(self) -> Iterator[tuple[str, int | str]]:
        """Each place of the file that names a version to load, and the version or label it names."""
        yield from ((f"labels.{label}", number) for label, number in self.labels.items())
        yield from ((f"traffic.{word}", word) for word in self.traffic)
        if self.shadow is not None:
            yield "shadow.version", self.shadow.version
        if isinstance(self.load, tuple):
            yield from (("load", number) for number in self.load)


_TYPES: dict[str, Any] = get_type_hints(Serving, include_extras=True)


def read(folder: Path) -> str | None:
    """The text of a model's serving.toml, None where there is none; ServingError: it cannot be read."""
    try:
        with opened(folder / FILE) as file:
            data = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServingError(f"{FILE} cannot be read: {error.strerror}") from None
    _check_length(data)
    try:
        # Some editors start a file with a byte order mark.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ServingError(f"{FILE} is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def parse(text: str) -> Serving:
    """What a serving.toml asks for; ServingError names the key that is wrong, and what belongs there."""
    if not text.strip():
        # Such as a file that is just being written anew, or was lost: all that it asked for would be too.
        raise ServingError(f'{FILE} is empty: delete it to serve the newest, or write load = "newest"')
    _check_length(text.encode(errors="replace"))
    _check_dots(text)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServingError(f"{FILE} is not TOML: {_cut(str(error), _TOLD)}") from None
    for key in table:
        _known(key)
    serving = Serving(**{key: _converted(key, value) for key, value in table.items()})
    check(serving)
    return serving


def check(serving: Serving) -> None:
    """ServingError where the parts of a file contradict each other, or name what is not there."""
    for label in serving.labels:
        check_label(label, f"a label in {FILE}")
    if serving.load == ():
        raise ServingError(f"load in {FILE} is []: name a version in it, or leave load out")
    total = sum(serving.traffic.values())
    if serving.traffic and abs(total - 1) > _TOLERANCE:
        raise ServingError(f"traffic in {FILE} adds up to {total:.9g}: its shares have to add up to 1")
    for place, word in serving.named():
        _check_version(serving, place, word)


def check_label(label: str, place: str) -> None:
    """ServingError where a label is none, with the place that it stands in."""
    if not LABEL.fullmatch(label):
        raise ServingError(
            f"{place} is {_shown(label)}: a label starts with a letter "
            "and has letters, digits, '.', '_' and '-'"
        )


def check_features(versions: Mapping[int, Sequence[Feature]]) -> None:
    """ServingError where versions that share traffic or a shadow take different features."""
    first, *others = sorted(versions) or [0]
    for number in others:
        difference = _difference(versions[first], versions[number])
        if difference:
            raise ServingError(
                f"versions {first} and {number} cannot take the same requests, as version {number} "
                f"{difference}: give only one of them traffic, and let neither shadow the other"
            )


def _check_length(data: bytes) -> None:
    if len(data) > _LONGEST:
        raise ServingError(f"{FILE} is longer than {_LONGEST // 1024} KiB, which none has to be: shorten it")


def _check_dots(text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _DOTS and not line.lstrip().startswith("#"):
            raise ServingError(
                f"{FILE} has more than {_DOTS} dots in line {number}: no key has so many parts"
            )


def _known(key: str) -> None:
    if key not in _TYPES:
        raise ServingError(
            f"{_shown(key)} in {FILE} is no key: {hint(key, _TYPES)}The keys are {', '.join(_TYPES)}"
        )


def _converted(key: str, value: Any) -> Any:
    if key not in {"labels", "traffic"} or not isinstance(value, dict):
        return _convert(key, key, value, value)
    # One by one, as msgspec does not say which item of a table is wrong.
    items = [_convert(f"{key}.{word}", key, {word: item}, item) for word, item in value.items()]
    return {word: item for table in items for word, item in table.items()}


def _convert(place: str, key: str, value: Any, shown: Any) -> Any:
    try:
        return msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError as error:
        complaint = str(error).replace("`", "").replace(" - at $[...]", "")
        description = next(part.description for part in get_args(_TYPES[key]) if isinstance(part, Meta))
        raise ServingError(
            f"{_cut(place)} in {FILE} is {_shown(shown)}: {_cut(complaint, _TOLD)}. It is {description}"
        ) from None


def _check_version(serving: Serving, place: str, word: int | str) -> None:
    try:
        number = serving.number(word)
    except ServingError as error:
        raise ServingError(f"{_cut(place)} in {FILE}: {error}. Add it, or name a version") from None
    if number in serving.retired:
        raise ServingError(
            f"{_cut(place)} in {FILE} is version {number}, which is retired: "
            "name another, or take it out of retired"
        )


def _difference(one: Sequence[Feature], other: Sequence[Feature]) -> str:
    """What the second takes otherwise than the first; empty where it takes the same."""
    mine, theirs = ({feature.name: feature.kind for feature in features} for features in (one, other))
    changes = [
        ("lacks", [name for name in mine if name not in theirs]),
        ("adds", [name for name in theirs if name not in mine]),
        ("has another kind of", [name for name in mine if theirs.get(name, mine[name]) != mine[name]]),
    ]
    told = [f"{verb} {_few([_shown(name) for name in names])}" for verb, names in changes if names]
    if not told and list(mine) != list(theirs):
        told = [f"takes them in another order ({_few([_cut(name) for name in theirs])})"]
    return " and ".join(told)


def _few(names: Collection[str]) -> str:
    """Names in a sentence, the first of many."""
    more = len(names) - _FEW
    return ", ".join(list(names)[:_FEW]) + (f" and {more} more" if more > 0 else "")


def _shown(value: Any) -> str:
    """A value in a sentence."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return "a value too long to show"


def _cut(text: str, longest: int = _SHOWN) -> str:
    """A text in a sentence: one line, without the middle where it is long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    end = longest // 3
    return line if len(line) <= longest else f"{line[: longest - end - 3]}...{line[-end:]}"
