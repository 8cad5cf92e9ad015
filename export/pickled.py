"""Fitted pipelines in files of joblib, pickle or cloudpickle.

A file is asked for the version of scikit-learn that saved it before anything in it runs: in another release,
an estimator may fail to load, or load and answer otherwise.
"""

import bz2
import gzip
import lzma
import re
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import sklearn
from joblib.compressor import BinaryZlibFile
from sklearn.exceptions import InconsistentVersionWarning

from unpickled.export import releases
from unpickled.export.errors import ExportError, reason
from unpickled.server.errors import UnpickledError

# The key of the version in an estimator's state; whatever a pickle of any protocol may write between the two;
# and the version, which the next opcode follows without a gap.
_VERSION = re.compile(
    rb"_sklearn_version'?\n?(?:\x94|q.|r.{4}|p\d+\n)?(?:\x95.{8})?(?:\x8c.|U.|X.{4}|[VS]'?)"
    rb"(\d+\.\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.?(?:post|dev)\d+)?)",
    re.S,
)
# No match is longer, in bytes.
_SPAN = 128
_CHUNK = 1 << 20
# How a compressed file begins -> what opens it.
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x78": lambda path: BinaryZlibFile(str(path)),
    b"\x1f\x8b": gzip.GzipFile,
    b"BZ": bz2.BZ2File,
    b"\x5d\x00": lzma.LZMAFile,
    b"\xfd7zXZ": lzma.LZMAFile,
    b"\x04\x22\x4d\x18": lambda path: import_module("lz4.frame").LZ4FrameFile(path),
}
# Packages whose module has another name.
_PACKAGES = {
    "imblearn": "imbalanced-learn",
    "sklearn": "scikit-learn",
    "category_encoders": "category-encoders",
}


def load(path: Path, command: Sequence[str]) -> Any:
    """The fitted estimator in a file. Loading runs the code in it.

    ``command`` are the words after ``unpickled`` that convert this file, for the error about a file of
    another release. A file of another version of the installed release is loaded with a warning.

    Raises:
        ExportError: The file is of another release, cannot be loaded, or holds no estimator.
    """
    version = saved_by(path)
    if version is not None:
        _check_release(path, version, command)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            fitted = joblib.load(path)
        except Exception as error:  # the code in the file may raise anything
            _check_releases(path, warned, command)
            raise ExportError(f"{path} {_failure(error)}") from error
    _check_releases(path, warned, command)
    _pass_on(path, warned, command)
    _check_estimator(path, fitted)
    return fitted


def saved_by(path: Path) -> str | None:
    """The version of scikit-learn that saved a file, as the first estimator in it tells; None if none does.

    Nothing in the file runs: its bytes are searched, uncompressed.
    """
    window = b""
    # A damaged file is searched up to the damage. To load it tells more.
    with suppress(Exception), _opened(path) as stream:
        while chunk := stream.read(_CHUNK):
            window = window[-2 * _SPAN :] + chunk
            match = _VERSION.search(window)
            # A match close to the end may be cut off there.
            if match and match.start() <= len(window) - _SPAN:
                return match[1].decode()
    match = _VERSION.search(window)
    return match[1].decode() if match else None


def _opened(path: Path) -> Any:
    """The file's bytes as a stream, uncompressed."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _COMPRESSED)))
    openers = [opener for prefix, opener in _COMPRESSED.items() if start.startswith(prefix)]
    return openers[0](path) if openers else path.open("rb")


def _check_release(path: Path, version: str, command: Sequence[str]) -> None:
    """Raise ExportError if ``version`` is of a release that is not the installed one."""
    if releases.of(version) == releases.INSTALLED:
        return
    if releases.of(version) not in releases.SUPPORTED:
        raise ExportError(
            f"{path} was saved by scikit-learn {version}, and Unpickled exports from {releases.SUPPORTED[0]} "
            f"to {releases.SUPPORTED[-1]}: fit the pipeline again with one of these, and save that."
        )
    raise ExportError(
        f"{path} was saved by scikit-learn {version}, and the installed {sklearn.__version__} may answer "
        f"otherwise: convert it beside {version}, with {_commands(version, command)}"
    )


def _check_releases(path: Path, warned: Sequence[warnings.WarningMessage], command: Sequence[str]) -> None:
    """Raise ExportError if scikit-learn has warned of another release."""
    for warning in _inconsistent(warned):
        _check_release(path, warning.original_sklearn_version, command)


def _inconsistent(warned: Sequence[warnings.WarningMessage]) -> list[InconsistentVersionWarning]:
    messages = (warning.message for warning in warned)
    return [message for message in messages if isinstance(message, InconsistentVersionWarning)]


def _pass_on(path: Path, warned: Sequence[warnings.WarningMessage], command: Sequence[str]) -> None:
    """Warn again, but in one sentence for all estimators of another version of the installed release."""
    for version in sorted({str(warning.original_sklearn_version) for warning in _inconsistent(warned)}):
        warnings.warn(
            f"{path} was saved by scikit-learn {version}, and {sklearn.__version__} is installed: if a bug "
            f"mended between the two matters, convert it with {_commands(version, command)}",
            stacklevel=2,
        )
    for warning in warned:
        if not isinstance(warning.message, InconsistentVersionWarning):
            warnings.warn(warning.message, stacklevel=2)


def _commands(version: str, command: Sequence[str]) -> str:
    """Two commands: the first makes an environment with this version, the second converts the file there."""
    folder, wanted = f"sklearn-{version}", releases.requirement(version)
    python = shlex.quote(releases.python_for(version))
    environment = f"{python} -m venv {folder} && {folder}/bin/pip install 'unpickled[export]' '{wanted}'"
    return f"{environment} && {shlex.join([f'{folder}/bin/unpickled', *command])}"


def _failure(error: Exception) -> str:
    """The end of the sentence about a file that cannot be loaded."""
    module = getattr(error, "name", None)
    if not isinstance(error, ModuleNotFoundError) or not module:
        return (
            f"cannot be loaded ({reason(error)}): save the fitted pipeline with joblib.dump, and convert it "
            "where the code it uses is installed."
        )
    top = module.partition(".")[0]
    package = _PACKAGES.get(top, top)
    if top != module and find_spec(top):
        return (
            f"needs the module {module}, which the installed {package} does not have: install the version of "
            f"{package} that it was saved with, and convert it again."
        )
    return (
        f"needs the module {module}, which is not installed: pip install {package}, "
        "or add its folder to PYTHONPATH if it is your own, and convert it again."
    )


@contextmanager
def blamed(path: Path, fitted: Any) -> Iterator[None]:
    """Turn whatever exception an estimator raises into an ExportError about the file that it is from."""
    try:
        yield
    except UnpickledError:
        raise
    except Exception as error:
        raise ExportError(
            f"{path} holds {_kind(fitted)} that is broken here ({reason(error)}): convert it where the "
            "version of its code is installed that saved it."
        ) from error


def _check_estimator(path: Path, fitted: Any) -> None:
    """Raise ExportError if this is nothing that predicts, or if it is broken."""
    with blamed(path, fitted):
        predicts = hasattr(fitted, "predict")
        # The manifest holds this text. An estimator that lacks an attribute fails here, before any work.
        text = repr(fitted) if predicts else ""
    if not text:
        raise ExportError(
            f"{path} holds {_kind(fitted)}, not a fitted classifier or pipeline: "
            "save the pipeline by itself with joblib.dump."
        )


def _kind(fitted: Any) -> str:
    """The name of its class, after an article."""
    name = type(fitted).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
