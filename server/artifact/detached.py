"""Detached signatures of model files: ``model.onnx.sig`` beside ``model.onnx``.

The file has a line for each key that has signed:

    unpickled-signature-v1 ID BASE64

ID names the key (artifact/ed25519.py); BASE64 is its ed25519 signature of the message below, which binds the
bytes of the file to the name of the model, and not to the number of a version:

    unpickled model v1
    name iris
    sha256 54c3...

Each line ends with a line feed, the last one, too.
"""

import base64
import binascii
import importlib
import re
from pathlib import Path
from typing import Any

from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import ArtifactError, ConfigError

SUFFIX = ".sig"
SIGNATURE = f"{FILE}{SUFFIX}"
# Bytes of the longest file, and the most lines that are read in it.
LONGEST, _MOST = 4096, 16
_LINE = re.compile(rb"unpickled-signature-v1 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)")


def message(name: str, sha256: str) -> bytes:
    """The bytes that are signed for a model's file.

    Example:
        >>> message("iris", "54c3").decode().split()
        ['unpickled', 'model', 'v1', 'name', 'iris', 'sha256', '54c3']
    """
    return f"unpickled model v1\nname {name}\nsha256 {sha256}\n".encode()


def line(key: Path, name: str, sha256: str) -> bytes:
    """The line of a signature by the private key in a file.

    Raises:
        ConfigError: The file holds no such key, or cryptography is not installed.
    """
    private = _ed25519().private(key)
    signature = base64.b64encode(private.sign(message(name, sha256)))
    return f"unpickled-signature-v1 {private.id} ".encode() + signature + b"\n"


def make_keys(path: Path) -> Path:
    """Write a new private key, and return the path of the public one; ConfigError as in ``line``."""
    public: Path = _ed25519().make(path)
    return public


def read_keys(path: str) -> dict[str, Any]:
    """The public keys in a file or folder, by their ids; ConfigError where there are none."""
    keys: dict[str, Any] = _ed25519().public(Path(path))
    return keys


def check(content: bytes | None, keys: dict[str, Any], name: str, sha256: str) -> None:
    """ArtifactError unless one of the keys has signed a file for a model of this name.

    Args:
        content: The bytes of ``model.onnx.sig``; None where there is none.
        keys: From ``read_keys``.
        name: The name of the model's folder.
        sha256: That of the file, in hex.
    """
    if content is None:
        raise ArtifactError(f"it has no signature, and one is required: {_REMEDY}")
    signatures = parsed(content)
    if not signatures:
        raise ArtifactError(f"its {SIGNATURE} holds no signature: {_REMEDY}")
    known = [(keys[id], signature) for id, signature in signatures if id in keys]
    if not known:
        signers = ", ".join(id for id, _ in signatures)
        raise ArtifactError(f"it is signed by a key that is not among those required ({signers})")
    if not any(key.verifies(signature, message(name, sha256)) for key, signature in known):
        raise ArtifactError(
            f"its signature does not fit the file: it was made for another file, or for another model than "
            f"{name}: {_REMEDY}"
        )


_REMEDY = "sign it with unpickled sign"


def parsed(content: bytes) -> list[tuple[str, bytes]]:
    """The signatures in a file: the id of the key and 64 bytes each. Other lines are left out."""
    lines = content[:LONGEST].splitlines()[:_MOST]
    matches = [match for each in lines if (match := _LINE.fullmatch(each.strip()))]
    return [(match[1].decode(), _decoded(match[2])) for match in matches]


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _ed25519() -> Any:
    try:
        return importlib.import_module("unpickled.server.artifact.ed25519")
    except ModuleNotFoundError as error:
        raise ConfigError(f"signatures need {error.name}: pip install 'unpickled[signing]'") from error
