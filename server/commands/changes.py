"""The change that each command makes: from the deployment of a model to the Serving that it should have.

Every function takes the model's shelf and returns the Serving to write, and a summary for the person who
typed the command. Nothing is written here. ServingError is raised where a version does not exist or fails,
and where the change makes no sense.
"""

from msgspec.structs import replace

from unpickled.server.commands import tables
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import CHALLENGER, STABLE, Serving, Shadowing
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.quote import listed

Change = tuple[Serving, str]


def promote(shelf: Shelf, version: str, label: str) -> Change:
    """Give a version a label; ``stable`` brings it all traffic too, and a shadow with all traffic ends."""
    serving.check_label(label, "--label")
    current = shelf.deployment
    number = _loadable(version, shelf)
    labels = {**current.serving.labels, label: number}
    traffic = {} if label == STABLE else current.serving.traffic
    desired = replace(current.serving, labels=labels, traffic=traffic)
    if _shadows_itself(desired, [number] if label == STABLE else list(current.traffic)):
        return replace(desired, shadow=None), f"version {number} is {label} and no longer the shadow"
    return desired, f"version {number} is {label}"


def keep(shelf: Shelf) -> Change:
    """Let the version that answers plain requests go on, whatever newer ones come: it becomes ``stable``.

    Where labels or traffic decide already, nothing changes.
    """
    current = shelf.deployment
    if STABLE in current.serving.labels or current.serving.traffic:
        return current.serving, f"version {current.main.version} goes on"
    return promote(shelf, str(current.main.version), STABLE)


def challenge(shelf: Shelf, version: str) -> Change:
    """Give a version the label ``challenger``, and let it shadow all plain requests, unseen by callers."""
    labelled, summary = promote(shelf, version, CHALLENGER)
    shadowing, _ = shadow(shelf, version, 1.0)
    return replace(labelled, shadow=shadowing.shadow), f"{summary} and shadows"


def canary(shelf: Shelf, version: str, weight: float) -> Change:
    """Send a share of plain requests to a version, and leave the others to the present one; 0 ends that."""
    if not 0 <= weight < 1:
        raise ServingError(f"--weight is {weight:g}: it is 0, which ends the canary, or more, and below 1")
    current = shelf.deployment
    number = _loadable(version, shelf) if weight else _existing(version, shelf)
    if not weight and number not in current.serving.shares():
        return current.serving, f"version {number} was no canary"
    main = _main(current, number)
    labels = {STABLE: main} | current.serving.labels
    rest = STABLE if labels[STABLE] == main else str(main)
    # Rounded, as 1 - 0.07 is 0.9299999999999999.
    traffic = {rest: round(1 - weight, 12), version: weight}
    if not weight:
        traffic = {} if rest == STABLE else {rest: 1.0}
    summary = f"version {number} is {'the' if weight else 'no longer the'} canary"
    return replace(current.serving, labels=labels, traffic=traffic), summary


def shadow(shelf: Shelf, version: str, share: float) -> Change:
    """Run a version on a share of plain requests too, unseen by callers; 0 ends that."""
    if not 0 <= share <= 1:
        raise ServingError(f"--share is {share:g}: it is 0, which ends the shadow, or more, and at most 1")
    current = shelf.deployment
    if not share:
        return replace(current.serving, shadow=None), "no version shadows"
    number = _loadable(version, shelf)
    if list(current.traffic) == [number]:
        raise ServingError(
            f"version {number} answers plain requests itself: as a shadow it has nothing to compare"
        )
    shadowing = Shadowing(version=number if version == str(number) else version, share=share)
    return replace(current.serving, shadow=shadowing), f"version {number} shadows"


def advance(shelf: Shelf, version: int, weight: float) -> Change:
    """Give a challenger a larger share of plain requests; with all of them it becomes stable.

    Until then it goes on to shadow the rest of the requests.
    """
    if weight < 1:
        return canary(shelf, str(version), weight)
    desired, summary = promote(shelf, str(version), STABLE)
    return _decided(desired, version), summary


def withdraw(shelf: Shelf, version: int) -> Change:
    """Take all plain requests and the label from a challenger, and end its shadow."""
    current = shelf.deployment
    desired = canary(shelf, str(version), 0)[0]
    # Without a stable version the newest one would answer, which the challenger may be.
    stable = {STABLE: _main(current, version)} | desired.labels
    desired = replace(desired, labels=stable)
    return _decided(desired, version), f"version {version} answers nothing any more"


def _decided(desired: Serving, version: int) -> Serving:
    """The settings without a challenger, and without the shadow of this version."""
    shadow = desired.shadow
    if shadow is not None and desired.number(shadow.version) == version:
        shadow = None
    labels = {word: number for word, number in desired.labels.items() if word != CHALLENGER}
    traffic = {word: share for word, share in desired.traffic.items() if share}
    return replace(desired, labels=labels, traffic=traffic, shadow=shadow)


def retire(shelf: Shelf, version: str) -> Change:
    """Stop loading a version."""
    in_force = shelf.deployment.serving
    number = _existing(version, shelf)
    for key, word in in_force.references():
        if key != "load" and in_force.number(word) == number:
            raise ServingError(
                f"{serving.FILE} has version {number} as {key}: put another version there first"
            )
    if not set(shelf.versions.numbers) - {number, *in_force.retired}:
        raise ServingError(f"{shelf.name} has no other version to serve than {number}: export one first")
    load = in_force.load
    if isinstance(load, tuple):
        # An empty list would load nothing: load the newest version instead.
        load = tuple(remaining for remaining in load if remaining != number) or "newest"
    retired = tuple(sorted({*in_force.retired, number}))
    return replace(in_force, load=load, retired=retired), f"version {number} is retired"


def rollback(shelf: Shelf) -> Change:
    """Return to the traffic and shadow before their last change; each further call goes a step further back.

    A change of anything else, such as another label, is no step. While serving.toml has a mistake, the step
    leads back to the deployment in force.
    """
    current = shelf.deployment
    if current.mistake and current.versions:
        return current.serving, "as it was before the mistake"
    if current.mistake:
        raise ServingError(
            f"{current.name} has nothing to go back to: {current.mistake}. "
            f"Repair that, or delete {serving.FILE}"
        )
    record = _previous(shelf)
    origin = f"as it was from {tables.moment(record)} UTC on ({record.by})"
    try:
        return _restored(record, shelf), f"back {origin}"
    except ServingError as error:
        raise ServingError(f"{current.name} cannot be served {origin}: {error}") from None


def _previous(shelf: Shelf) -> Record:
    current = shelf.deployment
    # The history lacks the present deployment if files were edited while no server ran.
    latest = [current.record(by="")] if current.versions else []
    try:
        record = history.previous([*history.read(shelf.versions.folder), *latest])
    except OSError as error:
        raise ServingError(f"{history.FILE} cannot be read: {error.strerror}") from None
    if record is None:
        raise ServingError(
            f"{current.name} has nothing to go back to: {history.FILE} has no earlier traffic or shadow. "
            f"Promote a version, or delete {serving.FILE} to serve the newest"
        )
    return record


def _restored(record: Record, shelf: Shelf) -> Serving:
    """The Serving of a record; traffic is left out where the labels alone lead to the same traffic now."""
    current = shelf.deployment.serving
    exact = replace(record.serving(), inputs=current.inputs, judge=current.judge)
    for number in exact.required():
        _check_not_retired(number, shelf)
    shelf.deploy(exact)
    implied = replace(exact, traffic={})
    traffic = shelf.deploy(implied).record(by="").traffic
    return implied if traffic == record.traffic else exact


def _shadows_itself(desired: Serving, answering: list[int]) -> bool:
    return desired.shadow is not None and answering == [desired.number(desired.shadow.version)]


def _main(current: Deployment, canary: int) -> int:
    """The version that answers the requests that the canary does not get."""
    candidates = [number for number in current.traffic if number != canary]
    if current.labels.get(STABLE) in candidates:
        return current.labels[STABLE]
    if not candidates:
        raise ServingError(
            f"version {canary} answers all plain requests already: promote another version first"
        )
    if len(candidates) > 1:
        raise ServingError(f"{current.sentence}: promote the one of them that is to answer the rest")
    return candidates[0]


def _loadable(version: str, shelf: Shelf) -> int:
    """The number of a version that can be served: it is loaded here, and answers its golden rows."""
    number = _existing(version, shelf)
    _check_not_retired(number, shelf)
    try:
        return shelf.versions.load(number).version
    except ArtifactError as error:
        raise ServingError(f"version {number} of {shelf.name} cannot be served: {error}") from None


def _check_not_retired(number: int, shelf: Shelf) -> None:
    if number in shelf.deployment.serving.retired:
        raise ServingError(f"version {number} is retired: take it out of retired in {serving.FILE} first")


def _existing(version: str, shelf: Shelf) -> int:
    """The number of a version, which may be given as a label; ServingError where there is no such version."""
    number, numbers = shelf.deployment.serving.number(version), shelf.versions.numbers
    if number not in numbers:
        versions = listed(list(map(str, numbers))) or "none"
        raise ServingError(f"{shelf.name} has no version {number}: it has {versions}")
    return number
