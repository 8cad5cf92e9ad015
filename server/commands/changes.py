"""What each change of the command line asks for, as a new Serving; nothing is written here.

All take the model's shelf as it is now, return what is to be asked for and what to say of it, and
raise ServingError where there is no such version, it fails, or the change makes no sense.
"""

from msgspec.structs import replace

from unpickled.server.commands import tables
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.lifecycle import deployment, history, serving
from unpickled.server.lifecycle.deployment import Deployment, Shelf
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import STABLE, Serving, Shadowing

Change = tuple[Serving, str]


def promote(shelf: Shelf, word: str, label: str) -> Change:
    """A version gets a label; with ``stable`` it also gets all traffic, and shadows no longer."""
    serving.check_label(label, "--label")
    now = shelf.deployment
    number = _tried(word, shelf)
    labels = {**now.wanted.labels, label: number}
    traffic = {} if label == STABLE else now.wanted.traffic
    wanted = replace(now.wanted, labels=labels, traffic=traffic)
    if _shadows_itself(wanted, [number] if label == STABLE else list(now.traffic)):
        return replace(wanted, shadow=None), f"version {number} is {label} and no longer the shadow"
    return wanted, f"version {number} is {label}"


def canary(shelf: Shelf, word: str, weight: float) -> Change:
    """A version answers a share of plain requests, what answers now the rest; 0 ends it."""
    if not 0 <= weight < 1:
        raise ServingError(f"--weight is {weight:g}: it is 0, which ends the canary, or more, and below 1")
    now = shelf.deployment
    number = _tried(word, shelf) if weight else _known(word, shelf)
    if not weight and number not in now.wanted.shares():
        return now.wanted, f"version {number} was no canary"
    main = _main(now, number)
    labels = {STABLE: main} | now.wanted.labels
    rest = STABLE if labels[STABLE] == main else str(main)
    # Rounded, as 1 - 0.07 is 0.9299999999999999.
    traffic = {rest: round(1 - weight, 12), word: weight}
    if not weight:
        traffic = {} if rest == STABLE else {rest: 1.0}
    told = f"version {number} is {'the' if weight else 'no longer the'} canary"
    return replace(now.wanted, labels=labels, traffic=traffic), told


def shadow(shelf: Shelf, word: str, share: float) -> Change:
    """A version runs on a share of plain requests too, unseen by callers; 0 ends it."""
    if not 0 <= share <= 1:
        raise ServingError(f"--share is {share:g}: it is 0, which ends the shadow, or more, and at most 1")
    now = shelf.deployment
    if not share:
        return replace(now.wanted, shadow=None), "no version shadows"
    number = _tried(word, shelf)
    if list(now.traffic) == [number]:
        raise ServingError(f"version {number} answers /predict itself: as a shadow it has nothing to compare")
    named = number if word == str(number) else word
    shadowing = Shadowing(version=named, share=share)
    return replace(now.wanted, shadow=shadowing), f"version {number} shadows"


def retire(shelf: Shelf, word: str) -> Change:
    """A version is not loaded any more."""
    wanted = shelf.deployment.wanted
    number = _known(word, shelf)
    for place, named in wanted.named():
        if place != "load" and wanted.number(named) == number:
            raise ServingError(
                f"version {number} is {place} in {serving.FILE}: move that to another version first"
            )
    if not set(shelf.versions.numbers) - {number, *wanted.retired}:
        raise ServingError(f"{shelf.name} has no other version to serve than {number}: export one first")
    load = wanted.load
    if isinstance(load, tuple):
        # Where it is the only one, what is left is left to the newest.
        load = tuple(listed for listed in load if listed != number) or "newest"
    retired = tuple(sorted({*wanted.retired, number}))
    return replace(wanted, load=load, retired=retired), f"version {number} is retired"


def rollback(shelf: Shelf) -> Change:
    """All as it was when /predict was last answered, or shadowed, otherwise than now.

    A step further back each time; a change that left both as they were, such as of another label, is
    no step. Where serving.toml is a mistake: what is served.
    """
    now = shelf.deployment
    if now.mistake and now.versions:
        return now.wanted, "as it was before the mistake"
    if now.mistake:
        raise ServingError(
            f"{now.name} has nothing to go back to: {now.mistake}. Repair that, or delete {serving.FILE}"
        )
    before = _before(shelf)
    told = f"as from {tables.moment(before)} UTC on ({before.by})"
    try:
        return _again(before, shelf), f"back {told}"
    except ServingError as error:
        raise ServingError(f"{now.name} cannot be served {told}: {error}") from None


def _before(shelf: Shelf) -> Record:
    now = shelf.deployment
    # The history does not know what is served now where the files changed and no server ran.
    found = [deployment.record(now, by="")] if now.versions else []
    try:
        before = history.previous([*history.read(shelf.versions.folder), *found])
    except OSError as error:
        raise ServingError(f"{history.FILE} cannot be read: {error.strerror}") from None
    if before is None:
        raise ServingError(
            f"{now.name} has nothing to go back to, as {history.FILE} knows nothing before this: "
            "promote a version"
        )
    return before


def _again(record: Record, shelf: Shelf) -> Serving:
    """What asks for a record again: without traffic of its own where that comes to the same now."""
    exact = record.serving()
    for number in exact.required():
        if number in shelf.deployment.wanted.retired:
            raise ServingError(f"version {number} is retired: take it out of retired in {serving.FILE} first")
    shelf.deploy(exact)
    implied = replace(exact, traffic={})
    traffic = deployment.record(shelf.deploy(implied), by="").traffic
    return implied if traffic == record.traffic else exact


def _shadows_itself(wanted: Serving, answering: list[int]) -> bool:
    return wanted.shadow is not None and answering == [wanted.number(wanted.shadow.version)]


def _main(now: Deployment, canary: int) -> int:
    """The version that answers what the canary does not."""
    others = [number for number in now.traffic if number != canary]
    if now.labels.get(STABLE) in others:
        return now.labels[STABLE]
    if not others:
        raise ServingError(f"version {canary} answers all of /predict already: promote another version first")
    if len(others) > 1:
        raise ServingError(f"{tables.sentence(now)}: promote one of them, as it is to answer the rest")
    return others[0]


def _tried(word: str, shelf: Shelf) -> int:
    """The version of a label or of digits, which has just answered its golden rows."""
    number = _known(word, shelf)
    if number in shelf.deployment.wanted.retired:
        raise ServingError(f"version {number} is retired: take it out of retired in {serving.FILE} first")
    try:
        return shelf.versions.load(number).version
    except ArtifactError as error:
        raise ServingError(f"version {number} of {shelf.name} cannot be served: {error}") from None


def _known(word: str, shelf: Shelf) -> int:
    number, known = shelf.deployment.wanted.number(word), shelf.versions.numbers
    if number not in known:
        raise ServingError(
            f"{shelf.name} has no version {number}: it has {', '.join(map(str, known)) or 'none'}"
        )
    return number
