"""serving.toml: which versions of a model are loaded, which requests each of them answers, and how."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle.disk import opened
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.model.policy import FeaturePolicy, Policy
from unpickled.server.model.range import Range, has_borders, ranges_of
from unpickled.server.model.rule import figure
from unpickled.server.quote import abridged, hint, listed, printable, quoted, shortened

FILE = "serving.toml"
# The label that answers plain /predict where there is no traffic.
STABLE = "stable"
# The label of a version that is to take its place, if it turns out to be better.
CHALLENGER = "challenger"
VERSION = re.compile(r"0|[1-9][0-9]{0,17}")
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")

# At most 18 digits, as in VERSION.
Version = Annotated[int, Meta(ge=0, lt=10**18)]
Count = Annotated[int, Meta(ge=1, lt=10**18)]
Share = Annotated[float, Meta(ge=0, le=1)]
# How far from 1 the shares may add up: people write rounded shares.
_TOLERANCE = 1e-6
# Longest file, in bytes.
_LONGEST = 16_384
# Most dots in a line: the time to read a key grows with the square of its parts.
_DOTS = 256
# Longest value and longest message of a parser in an error, in characters.
_LONGEST_VALUE, _LONGEST_MESSAGE = 80, 200
# Names that an error lists.
_MOST_NAMES = 5


class Shadowing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version (or the label of one) that runs on a share of plain requests, unseen by callers."""

    version: Version | str
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Serving(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings in one serving.toml. The keys of ``traffic`` are labels, or versions in digits."""

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
    inputs: Annotated[
        Policy,
        Meta(
            description='a table: outside = "flag", "accept", "clip" or "refuse", slack = 0.0 (a share of '
            "the training range, 0 to 1000), and a table of each feature with a policy of its own: "
            'features.age = {outside = "clip", lowest = 0, highest = 120}'
        ),
    ] = Policy()
    judge: Annotated[
        Rules,
        Meta(description="a table of rules for unpickled judge: minimum_rows = 200, steps = [0.05, 1.0]"),
    ] = Rules()

    def number(self, word: int | str) -> int:
        """The version that a label, or a version in digits, stands for; ServingError: no such label."""
        if isinstance(word, int):
            return word
        if VERSION.fullmatch(word):
            return int(word)
        if word not in self.labels:
            labels = listed(self.labels, _MOST_NAMES)
            remark = f"the labels are {labels}" if labels else "there are none yet"
            number = ", and it is no version number" if any(map(str.isdigit, word)) else ""
            raise ServingError(f"there is no label {_literal(word)}{number}: {remark}")
        return self.labels[word]

    def required(self) -> tuple[int, ...]:
        """The versions that must load, ascending: all that the file names."""
        return tuple(sorted({self.number(word) for _, word in self.references()}))

    def shares(self) -> dict[int, float]:
        """Share of plain /predict by version, without those of 0; {} without traffic."""
        shares: dict[int, float] = {}
        for word, share in self.traffic.items():
            if share:
                number = self.number(word)
                shares[number] = shares.get(number, 0.0) + share
        return shares

    def references(self) -> Iterator[tuple[str, int | str]]:
        """Each place in the file that names a version to load ("labels.stable"), and the version or label."""
        yield from ((f"labels.{label}", number) for label, number in self.labels.items())
        yield from ((f"traffic.{word}", word) for word in self.traffic)
        if self.shadow is not None:
            yield "shadow.version", self.shadow.version
        if isinstance(self.load, tuple):
            yield from (("load", number) for number in self.load)


_TYPES: dict[str, Any] = get_type_hints(Serving, include_extras=True)
_RULES: dict[str, Any] = get_type_hints(Rules, include_extras=True)


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
    """The settings in the text of a serving.toml; ServingError names a wrong key, and what belongs there."""
    if not text.strip():
        # An editor may just be writing the file anew, or has lost its content: keep what is served.
        raise ServingError(f'{FILE} is empty: delete it to serve the newest, or write load = "newest"')
    _check_length(text.encode(errors="replace"))
    _check_dots(text)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServingError(f"{FILE} is not TOML: {_message(error)}") from None
    for key in table:
        _check_key(key)
    serving = Serving(**{key: _converted(key, value) for key, value in table.items()})
    check(serving)
    return serving


def check(serving: Serving) -> None:
    """ServingError where the settings contradict each other, or name a label that is not there."""
    for label in serving.labels:
        check_label(label, f"a label in {FILE}")
    if serving.load == ():
        raise ServingError(f"load in {FILE} is []: name a version in it, or leave load out")
    total = sum(serving.traffic.values())
    if serving.traffic and abs(total - 1) > _TOLERANCE:
        raise ServingError(f"traffic in {FILE} adds up to {total:.9g}: its shares have to add up to 1")
    for place, word in serving.references():
        _check_version(serving, place, word)
    for name, own in serving.inputs.features.items():
        if own.lowest is not None and own.highest is not None and own.lowest > own.highest:
            raise ServingError(
                f"{_of_feature(name)} has lowest {own.lowest:g} and highest {own.highest:g}: exchange them"
            )
    if mistake := serving.judge.mistake:
        raise ServingError(f"judge.steps in {FILE} is {list(serving.judge.steps)}: {mistake}")


def check_label(label: str, place: str) -> None:
    """ServingError where a label has characters that none may have; ``place`` says where it was written."""
    if not LABEL.fullmatch(label):
        raise ServingError(
            f"{place} is {_literal(label)}: a label starts with a letter "
            "and has letters, digits, '.', '_' and '-'"
        )


def check_features(versions: Mapping[int, Sequence[Feature]]) -> None:
    """ServingError where versions that share traffic or a shadow take different features."""
    first, *further = sorted(versions) or [0]
    for number in further:
        difference = _difference(versions[first], versions[number])
        if difference:
            raise ServingError(
                f"versions {first} and {number} cannot take the same requests, as version {number} "
                f"{difference}: give only one of them traffic, and let neither shadow the other"
            )


def check_inputs(policy: Policy, versions: Iterable[Sequence[Feature]]) -> None:
    """ServingError where the policy is for a feature that no version has, or for borders that none may have.

    ``versions`` has the features of each version that is served.
    """
    features = [feature for version in versions for feature in version]
    for name, own in policy.features.items():
        same = [feature for feature in features if feature.name == name]
        if features and not same:
            names = list(dict.fromkeys(feature.name for feature in features))
            raise ServingError(
                f"{_of_feature(name)}: no version that is served has a feature of that name: "
                f"{hint(name, names)}They have {listed(names, _MOST_NAMES, quoted)}"
            )
        bounded = own.lowest is not None or own.highest is not None
        if same and bounded and not any(has_borders(feature) for feature in same):
            kind = "categories" if same[0].kind == "category" else "known values only"
            raise ServingError(
                f"{_of_feature(name)} has lowest or highest, but the feature takes {kind}: leave them out"
            )


def check_ranges(policy: Policy, versions: Mapping[int, Manifest]) -> None:
    """ServingError where a border in the file lies beyond the other end, so that no value would be inside.

    ``versions`` has the manifest of each version that is served: where the file has only one border, the
    other end is that of training, which differs between versions.
    """
    for number, manifest in sorted(versions.items()) if policy.features else ():
        for each in ranges_of(manifest, policy):
            if each is not None and each.least > each.most and each.name in policy.features:
                own = policy.of(each.name)
                raise ServingError(f"{_of_feature(each.name)} {_empty(own, each, policy.slack, number)}")


def _empty(own: FeaturePolicy, each: Range, slack: float, number: int) -> str:
    """A clause that says why a range has no value, and how it gets some."""
    lowest, highest = (
        _end(*pair, each) for pair in zip((own.lowest, own.highest), each.figures, strict=True)
    )
    trained = f"value of version {number}, which is that of training{' with slack' if slack else ''}"
    if own.highest is None:
        return f"has lowest {lowest}, above the highest {trained} ({highest}): give highest, too, or lower it"
    if own.lowest is None:
        return f"has highest {highest}, below the lowest {trained} ({lowest}): give lowest, too, or raise it"
    return (
        f"has lowest {lowest} and highest {highest}, but the values of version {number} are whole, "
        "and none lies between: move them apart"
    )


def _end(own: float | None, used: str, each: Range) -> str:
    """An end of a range as the file has it, but for a date, which the file has as seconds."""
    return used if own is None or each.feature.date else figure(own)


def _of_feature(name: str) -> str:
    return f"inputs.features.{_key(name)} in {FILE}"


def _check_length(data: bytes) -> None:
    if len(data) > _LONGEST:
        raise ServingError(f"{FILE} is longer than {_LONGEST // 1024} KiB: shorten it")


def _check_dots(text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _DOTS and not line.lstrip().startswith("#"):
            raise ServingError(
                f"{FILE} has more than {_DOTS} dots in line {number}: no key has so many parts"
            )


def _check_key(key: str) -> None:
    if key not in _TYPES:
        raise ServingError(
            f"{_literal(key)} in {FILE} is no known key: {hint(key, _TYPES)}The keys are {', '.join(_TYPES)}"
        )


def _converted(key: str, value: Any) -> Any:
    if key in {"inputs", "judge"} and isinstance(value, dict):
        return _inputs(value) if key == "inputs" else _judge(value)
    if key not in {"labels", "traffic"} or not isinstance(value, dict):
        return _convert(key, key, value, value)
    # Item by item, as msgspec does not say which item of a table is wrong.
    items = [_convert(f"{key}.{word}", key, {word: item}, item) for word, item in value.items()]
    return {word: item for table in items for word, item in table.items()}


def _inputs(table: dict[str, Any]) -> Policy:
    """The policy in the key ``inputs``; an error names the key in it, and the feature, that it is about."""
    for word, value in table.items():
        if word != "features" or not isinstance(value, dict):
            _convert(f"inputs.{word}", "inputs", {word: value}, value)
            continue
        for name, own in value.items():
            for part, item in own.items() if isinstance(own, dict) else ():
                _convert(f"inputs.features.{name}.{part}", "inputs", {"features": {name: {part: item}}}, item)
            _convert(f"inputs.features.{name}", "inputs", {"features": {name: own}}, own)
    policy: Policy = _convert("inputs", "inputs", table, table)
    return policy


def _judge(table: dict[str, Any]) -> Rules:
    """The rules in the key ``judge``; an error names the key in it that it is about."""
    for word, value in table.items():
        if word not in _RULES:
            raise ServingError(
                f"{_key(f'judge.{word}')} in {FILE} is no known key: {hint(word, _RULES)}"
                f"The keys of judge are {', '.join(_RULES)}"
            )
        _convert(f"judge.{word}", f"judge.{word}", value, value)
    rules: Rules = _convert("judge", "judge", table, table)
    return rules


def _convert(place: str, key: str, value: Any, item: Any) -> Any:
    """The value of a key in its type; an error quotes ``item``, the part of the value that it is about."""
    kind = _RULES[key.removeprefix("judge.")] if key.startswith("judge.") else _TYPES[key]
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        description = next(part.description for part in get_args(kind) if isinstance(part, Meta))
        subject = "It" if place == key else key
        raise ServingError(
            f"{_key(place)} in {FILE} is {_literal(item)}: {_message(error)}. {subject} is {description}"
        ) from None


def _check_version(serving: Serving, place: str, word: int | str) -> None:
    try:
        number = serving.number(word)
    except ServingError as error:
        raise ServingError(f"{_key(place)} in {FILE}: {error}. Add it, or name a version") from None
    if number in serving.retired:
        raise ServingError(
            f"{_key(place)} in {FILE} is version {number}, which is retired: "
            "name another, or take it out of retired"
        )


def _difference(features: Sequence[Feature], changed: Sequence[Feature]) -> str:
    """A clause that says how the ``changed`` features differ; empty where they do not."""
    old, new = ({feature.name: _kind(feature) for feature in part} for part in (features, changed))
    changes = [
        ("lacks", [name for name in old if name not in new]),
        ("adds", [name for name in new if name not in old]),
        ("has another kind of", [name for name in old if new.get(name, old[name]) != old[name]]),
    ]
    clauses = [f"{verb} {listed(names, _MOST_NAMES, quoted)}" for verb, names in changes if names]
    if not clauses and list(old) != list(new):
        clauses = [f"takes them in another order ({listed(new, _MOST_NAMES, _key)})"]
    return " and ".join(clauses)


def _kind(feature: Feature) -> str:
    """The kind of value that requests send: a date is text, though a number to the graph."""
    return "date" if feature.date else feature.kind


def _message(error: Exception) -> str:
    """The message of a parser, whose last words may name a place."""
    text = _PLACE.sub("", str(error).replace("`", "").replace(" | null", ""))
    return abridged(printable(text), _LONGEST_MESSAGE)


# The path of a value in a message of msgspec; the sentence around it names the key.
_PLACE = re.compile(r" - at \$(\[\.\.\.\]|\.inputs|\.features|\.outside|\.slack|\.lowest|\.highest)+$")


def _key(text: str) -> str:
    """A name without quotes, in a sentence."""
    return shortened(printable(text))


def _literal(value: Any) -> str:
    """A value as Python writes it, in a sentence."""
    try:
        return abridged(printable(repr(value)), _LONGEST_VALUE)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return "a value too long to show"
