"""Where the versions in memory come from: a file, a version of a model's folder, or the folder itself."""

import hashlib
import logging
import sys
import threading
from pathlib import Path
from weakref import WeakSet

from unpickled.server import follower
from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE
from unpickled.server.embedded.version import Options, Origin, Version
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.follower import INTERVAL
from unpickled.server.lifecycle import disk, serving, signed
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.lifecycle.versions import Served, Versions
from unpickled.server.model import session
from unpickled.server.model.policy import Policy
from unpickled.server.quote import listed
from unpickled.server.system import POSIX, at_fork

logger = logging.getLogger("unpickled")

# Characters of a digest that a sentence shows.
_DIGEST = 12


class Fixed:
    """A version that stays as it is."""

    def __init__(self, current: Version) -> None:
        self.current = current


class Followed:
    """The version of a folder that answers, or has a label; a thread replaces it when the folder changes.

    Attributes:
        current: The version. It is replaced as a whole: a call takes it once.
        interval: Seconds between two looks at the folder.
    """

    interval = INTERVAL

    def __init__(self, folder: Path, label: str | None, options: Options) -> None:
        self._folder, self._label, self._options = folder, label, options
        # The history is the business of servers and commands.
        # A content that arrives may end the process that loads it: another process tries it first.
        self._trials = Trials() if POSIX and _is_python(sys.executable) else None
        self._shelf = Shelf(folder, options.runtime, recording=False, trials=self._trials, keys=options.keys)
        self._shelf.refresh()
        served, policy = chosen(self._shelf.deployment, label)
        self.current = _version(folder, served, policy, options)
        self._mistake = ""
        self._woken = threading.Event()
        self._follow()

    def refresh(self) -> None:
        """Look at the folder; what is in memory stays where that fails, and the log has the reason once."""
        try:
            with _looking:
                self._look()
                served, policy = chosen(self._shelf.deployment, self._label)
        except (ArtifactError, ServingError) as error:
            if str(error) != self._mistake:
                logger.error("%s; version %d stays in memory", error, self.current.origin.number)
            self._mistake = str(error)
            return
        self._mistake, before = "", self.current
        if served.model is not before.model or policy != before.policy:
            self.current = _version(self._folder, served, policy, self._options)

    def _look(self) -> None:
        try:
            self._shelf.refresh()
            self._shelf.versions.keep(set(self._shelf.deployment.versions))
        finally:
            # No process that is forked inherits the pipes to the one that tries contents.
            if self._trials is not None:
                self._trials.close()

    def resume(self) -> None:
        """Follow on in a process that was forked: it has no thread yet."""
        # The thread of the other process may have held its lock.
        threading.Event.__init__(self._woken)
        self._follow()

    def _follow(self) -> None:
        follower.follow(self, f"follows {self._folder.name}", self._woken)
        _followed.add(self)


def _is_python(program: str | None) -> bool:
    """Whether a program is an interpreter, and not one that has Python within: that would start again."""
    return not getattr(sys, "frozen", False) and Path(program or "").name.startswith("python")


# The folders that this process follows. None is being looked at while the process is forked.
_followed: WeakSet[Followed] = WeakSet()
_looking = threading.Lock()


def _resume() -> None:
    _looking.release()
    for folder in list(_followed):
        folder.resume()


at_fork(before=_looking.acquire, after_in_parent=_looking.release, after_in_child=_resume)


def of_folder(folder: Path, label: str | None, options: Options) -> Version:
    """The version of a model's folder that answers most requests, or that has a label.

    Raises:
        ArtifactError: No version can be served.
        ServingError: There is no such label.
    """
    shelf = Shelf(folder, options.runtime, recording=False, keys=options.keys)
    shelf.refresh()
    return _version(folder, *chosen(shelf.deployment, label), options)


def of_version(folder: Path, number: int, options: Options) -> Version:
    """One version of a model's folder, under the policy in its serving.toml.

    Raises:
        ArtifactError: There is no such version, or it cannot be served.
        ServingError: The file serving.toml is wrong.
    """
    versions = Versions(folder, options.runtime, keys=options.keys)
    versions.scan()
    try:
        served = versions.load(number)
    except ArtifactError as error:
        raise ArtifactError(f"{folder.name} version {number} is not loaded: {error}") from error
    text = serving.read(folder)
    policy = Policy() if text is None else serving.parse(text).inputs
    serving.check_ranges(policy, {number: served.model.manifest})
    return _version(folder, served, policy, options)


def of_file(
    path: Path,
    options: Options,
    name: str | None = None,
    number: int | None = None,
    policy: Policy | None = None,
    sha256: str | None = None,
) -> Version:
    """The version in a file.

    Args:
        path: The file.
        options: How it is run.
        name: The name of its model; without it, the one in the file.
        number: Its number, if it has one.
        policy: The policy for values outside the training range; without it, they are flagged.
        sha256: The digest that its content must have.

    Raises:
        ArtifactError: The file cannot be read or served, has another content, or is not signed.
    """
    try:
        with disk.opened(path) as stream:
            data, _ = disk.content(stream)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise ArtifactError(
            f"{path} has another content (sha256 {digest:.{_DIGEST}}) than the model that was pickled "
            f"({sha256:.{_DIGEST}}): load the model anew, or put that file back"
        )
    try:
        if options.keys is not None:
            # A file that is not signed does not reach ONNX Runtime; its name is read by no library.
            model_name = name or manifest.read(data).name
            signed.check_file(path, options.keys, model_name, digest)
        model = session.load(data, options.runtime)
    except ArtifactError as error:
        raise ArtifactError(f"{path} is not loaded: {error}") from error
    origin = Origin(path, name or model.manifest.name, number, digest)
    return Version(origin, model, policy or Policy(), options)


def chosen(deployment: Deployment, label: str | None) -> tuple[Served, Policy]:
    """The version with a label, or the one that answers; ArtifactError and ServingError as ``of_folder``."""
    if not deployment.versions:
        raise ArtifactError(f"model {deployment.name!r} has no version to load: {deployment.reason}")
    policy = deployment.serving.inputs
    if label is None:
        return deployment.main, policy
    if label not in deployment.labels:
        labels = listed(deployment.labels, 5)
        remark = f"its labels are {labels}" if labels else "it has no labels"
        raise ServingError(f"model {deployment.name!r} has no label {label!r}: {remark}")
    return deployment.versions[deployment.labels[label]], policy


def _version(folder: Path, served: Served, policy: Policy, options: Options) -> Version:
    path = folder / str(served.version) / FILE
    return Version(Origin(path, served.name, served.version, served.sha256), served.model, policy, options)
