"""Ed25519 keys in PEM files, as openssl writes them. The only module that imports cryptography.

Whoever needs a key imports this module when it does: the library belongs to an extra.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from unpickled.server.errors import ConfigError
from unpickled.server.quote import shortened
from unpickled.server.system import OPENING

# Characters of a digest by which a signature names its key.
_ID = 16
_LONGEST = 64 * 1024
_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"


class PublicKey(NamedTuple):
    """A public key, and the id by which signatures name it: the start of the sha256 of its 32 bytes."""

    id: str
    key: Ed25519PublicKey

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the private key has signed these bytes."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey(NamedTuple):
    """A private key, and the id of the public one."""

    id: str
    key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self.key.sign(message)


def make(path: Path) -> Path:
    """Write a new private key, which only its owner may read, and beside it the public one, ``.pub``.

    Raises:
        ConfigError: One of the files exists, or cannot be written.
    """
    key, public = Ed25519PrivateKey.generate(), path.with_suffix(".pub")
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if path == public:
        raise ConfigError(
            f"{path} is the name of a public key: call the private one {path.with_suffix('.pem')}"
        )
    for file in (path, public):
        if os.path.lexists(file):
            raise ConfigError(f"{file} is there already: keep it, or name another file")
    try:
        _write(path, secret, 0o600)
        _write(public, shown, 0o644)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from None
    return public


def _write(path: Path, content: bytes, mode: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPENING, mode)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(file)


def private(path: Path) -> PrivateKey:
    """The private key in a file.

    Raises:
        ConfigError: The file cannot be read, is encrypted, or holds another kind of key.
    """
    content = _content(path)
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise ConfigError(f"{path} is encrypted: decrypt it with openssl pkey -in {path} -out FILE") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{path} is no private key (PEM): unpickled sign --new-key FILE makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is no ed25519 key: unpickled sign --new-key FILE makes one")
    return PrivateKey(_id(key.public_key()), key)


def public(path: Path) -> dict[str, PublicKey]:
    """The public keys in a file, or in the files of a folder that end in ``.pub``, by their ids.

    Raises:
        ConfigError: The file cannot be read, or holds anything but public ed25519 keys.
    """
    try:
        files = sorted(file for file in path.glob("*.pub") if not file.is_fifo()) if path.is_dir() else [path]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    keys = [key for file in files for key in _public(file, _content(file, _at_once))]
    if not keys:
        raise ConfigError(f"{path} holds no public key: put keys of unpickled sign --new-key there")
    return {key.id: key for key in keys}


def _public(path: Path, content: bytes) -> list[PublicKey]:
    if b"PRIVATE KEY-----" in content:
        raise ConfigError(f"{path} holds a private key, and belongs with whoever signs: name the file .pub")
    parts = [part.partition(_END)[0] for part in content.split(_BEGIN)[1:]]
    return [_key(path, _BEGIN + part + _END + b"\n") for part in parts]


def _key(path: Path, text: bytes) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{path} holds a key that is damaged: copy it again") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds a key that is no ed25519 key: take it out")
    return PublicKey(_id(key), key)


def _id(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:_ID]


def _content(path: Path, opener: Callable[[str, int], int] = os.open) -> bytes:
    try:
        with open(path, "rb", opener=opener) as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigError(f"{shortened(str(path), 200)} cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise ConfigError(f"{path} is longer than {_LONGEST} bytes: it is no file of keys")
    return content


def _at_once(path: str, flags: int) -> int:
    """Open a regular file: a server would wait until somebody writes to a pipe."""
    descriptor = os.open(path, flags | OPENING)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file")
    return descriptor
