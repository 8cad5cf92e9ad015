"""The certificate of the server, its key, and the authorities of its clients: checked, held, and followed.

A worker reads them at its start. It gets copies that the main process holds in memory: a worker that starts
while somebody replaces the files one after the other would find a key that fits no certificate, and fail.
"""

import logging
import multiprocessing
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unpickled.server.anonymous import anonymous_file
from unpickled.server.config import Listening
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk
from unpickled.server.process import handshake

logger = logging.getLogger("unpickled")

_LONGEST = 1024 * 1024
# Where a process finds its own descriptors as files.
_DESCRIPTORS = Path("/proc/self/fd")

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (RSA |EC )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)


class Paths(NamedTuple):
    """Files in PEM for the HTTP server; ``client_ca`` is None where clients need no certificate."""

    cert: str
    key: str
    client_ca: str | None


class Certificates:
    """The files that the settings name.

    Attributes:
        paths: Where workers find their content.
    """

    def __init__(self, listening: Listening) -> None:
        """Read and check the files; ``listening.tls_cert`` is set.

        Raises:
            ConfigError: A file is missing or wrong, or a setting is; the sentence names it and the remedy.
        """
        self._listening = listening
        self._files = _files(listening)
        self._stamps = self._pending = self._looked()
        # Open descriptors of this content and of the one before, from which a worker may just be starting.
        self._held: list[list[int]] = []
        self.paths = self._hold(check(listening))

    def refresh(self) -> bool:
        """Look at the files, and follow a change; whether workers have to read them again.

        A change is followed at the second look that finds it: somebody may still be writing. It is checked
        first, and a mistake leaves everything as it was.
        """
        stamps = self._looked()
        settled, self._pending = stamps == self._pending, stamps
        if stamps == self._stamps or not settled:
            return False
        self._stamps = stamps
        try:
            self.paths = self._hold(check(self._listening))
        except ConfigError as error:
            logger.error("the certificate stays as it was: %s", error)
            return False
        logger.info("the certificate has changed: the workers are replaced one by one")
        return True

    def _looked(self) -> list[disk.Stamp]:
        return [disk.stamp(path) for path in self._files.values()]

    def _hold(self, contents: Sequence[bytes]) -> Paths:
        """Copies of the contents in memory, for workers that are forked; elsewhere, the files themselves."""
        if multiprocessing.get_start_method() != "fork" or not _DESCRIPTORS.is_dir():
            paths = [str(Path(path).resolve()) for path in self._files.values()]
        else:
            descriptors = [_copied(content) for content in contents]
            self._held.append(descriptors)
            if len(self._held) > 2:
                for descriptor in self._held.pop(0):
                    os.close(descriptor)
            paths = [str(_DESCRIPTORS / str(descriptor)) for descriptor in descriptors]
        return Paths(paths[0], paths[1], paths[2] if len(paths) > 2 else None)


def of(listening: Listening) -> Certificates | None:
    """The certificates that the settings name; None where they name none.

    Raises:
        ConfigError: A file is wrong, or a setting lacks another one.
    """
    if listening.tls_cert is None:
        for key in ("tls_key", "tls_client_ca"):
            if getattr(listening, key) is not None:
                raise ConfigError(f"{key} does nothing without tls_cert: set tls_cert, or leave {key} out")
        return None
    if listening.tls_key is None:
        raise ConfigError("tls_cert needs tls_key: name the file with the private key of the certificate")
    return Certificates(listening)


def check(listening: Listening) -> list[bytes]:
    """The contents of the files, which belong together; a line in the log where a certificate has expired.

    Raises:
        ConfigError: A file is missing or wrong; the sentence names it and the remedy.
    """
    contents = {key: _read(key, path) for key, path in _files(listening).items()}
    for key in contents.keys() - {"tls_key"}:
        _check_certificates(key, _files(listening)[key], contents[key])
    _check_key(listening.tls_key or "", contents["tls_key"])
    _check_pair(listening, contents)
    return list(contents.values())


def _files(listening: Listening) -> dict[str, str]:
    """Setting -> path, of those that are set."""
    files = {key: getattr(listening, key) for key in ("tls_cert", "tls_key", "tls_client_ca")}
    return {key: path for key, path in files.items() if path is not None}


def _read(key: str, path: str) -> bytes:
    try:
        with disk.opened(Path(path)) as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"{key} is {path}, which cannot be read ({error.strerror}): name a PEM file"
        ) from None
    if len(content) > _LONGEST:
        raise ConfigError(f"{key} is {path}, which is longer than {_LONGEST} bytes: name a PEM file")
    return content


def _check_certificates(key: str, path: str, content: bytes) -> None:
    blocks = _CERTIFICATE.findall(content)
    if not blocks:
        other = "only a private key" if _KEY.search(content) else "no certificate in PEM"
        raise ConfigError(
            f"{key} is {path}, which has {other}: a certificate begins with -----BEGIN CERTIFICATE-----; "
            "`openssl x509 -inform der` writes PEM from DER"
        )
    for number, block in enumerate(blocks, start=1):
        try:
            ssl.create_default_context(cadata=block.decode("ascii"))
        except (ssl.SSLError, ValueError, UnicodeDecodeError):
            raise ConfigError(
                f"certificate {number} in {path} ({key}) is damaged: copy the file again"
            ) from None


def _check_key(path: str, content: bytes) -> None:
    if _ENCRYPTED.search(content):
        raise ConfigError(
            f"tls_key is {path}, which is encrypted: write it without a password, for the server alone, "
            f"with `openssl pkey -in {path} -out key.pem`"
        )
    if not _KEY.search(content):
        raise ConfigError(
            f"tls_key is {path}, which has no private key in PEM: one begins with -----BEGIN PRIVATE KEY-----"
        )


def _check_pair(listening: Listening, contents: dict[str, bytes]) -> None:
    """ConfigError where the key is not that of the certificate, or cannot be served; warns of the dates."""
    pair = f"tls_cert {listening.tls_cert} and tls_key {listening.tls_key}"
    leaf = _CERTIFICATE.findall(contents["tls_cert"])[0].decode("ascii")
    try:
        trial = handshake.trial(listening.tls_cert or "", listening.tls_key or "", leaf)
    except ssl.SSLError as error:
        # OpenSSL finds no certificate for a key of another kind.
        if error.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}:
            raise ConfigError(
                f"{pair} do not belong together: the first certificate has to be that of the key, and those "
                "of authorities follow it"
            ) from None
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise ConfigError(f"{pair} cannot be used ({reason}): make them anew") from None
    if trial.unfit:
        raise ConfigError(f"{pair} cannot be used: {trial.unfit}")
    if trial.warning:
        logger.warning("tls_cert %s: %s", listening.tls_cert, trial.warning)


def _copied(content: bytes) -> int:
    """Descriptor of a file in memory with that content."""
    descriptor = anonymous_file(0, "certificate")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor
