"""The address of the server: checked before the server starts, and waited for until it answers."""

import hashlib
import os
import socket
import sys
import time
from errno import EADDRINUSE
from pathlib import Path

from msgspec.structs import replace

from unpickled.server.config import Listening
from unpickled.server.errors import ConfigError


class Claim:
    """An address that is this server's until the block of this context ends.

    Attributes:
        listening: The settings, with the hosts as IP addresses.
        admin: Listens at the admin port; None without one.
    """

    def __init__(self, listening: Listening, holder: socket.socket | None) -> None:
        self.listening = listening
        self.admin: socket.socket | None = None
        self._holder = holder

    def __enter__(self) -> "Claim":
        os.register_at_fork(after_in_child=self._close)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        for holder in (self._holder, self.admin):
            if holder is not None:
                holder.close()


def claim(listening: Listening, handed: socket.socket | None = None) -> Claim:
    """Claim the addresses of a server; ConfigError where one is taken or unusable.

    The main one is claimed already where a service manager has ``handed`` its socket over.
    """
    claim = _claim_main(listening) if handed is None else Claim(_of(listening, handed), None)
    if listening.admin_port is None:
        return claim
    try:
        host = listening.admin_host or listening.host
        claim.admin = listener(host, listening.admin_port, "--admin-host or --admin-port")
    except ConfigError:
        claim.__exit__()
        raise
    claim.listening = replace(claim.listening, admin_host=str(claim.admin.getsockname()[0]))
    return claim


def _of(listening: Listening, handed: socket.socket) -> Listening:
    """The settings with the address of a socket."""
    name = handed.getsockname()
    if handed.family == socket.AF_UNIX:
        return replace(listening, uds=name)
    return replace(listening, host=name[0], port=name[1], uds=None)


def _claim_main(listening: Listening) -> Claim:
    if listening.uds:
        path = Path(listening.uds)
        guard = _guard(path)
        _claim_socket(path)
        return Claim(listening, guard)
    holder = listener(listening.host, listening.port, "--host or --port")
    host = str(holder.getsockname()[0])
    _share(holder)
    return Claim(replace(listening, host=host), holder)


def wait(listening: Listening, seconds: float = 60.0) -> None:
    """Wait until the address takes connections, at most ``seconds``."""
    family = socket.AF_UNIX if listening.uds else socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(family) as probe:
            if probe.connect_ex(listening.uds or (listening.host, listening.port)) == 0:
                return
        time.sleep(0.005)


def listener(host: str, port: int, options: str) -> socket.socket:
    """A socket that listens there, alone; ``options`` are those by which to choose another address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        # Take the system's text, as Python adds the address to its own; look-up errors are negative.
        code = error.errno or 0
        reason = os.strerror(code) if code > 0 else error.strerror
        remedy = "stop what listens there, or choose another" if code == EADDRINUSE else "choose another"
        raise ConfigError(f"cannot listen on {host} port {port} ({reason}): {remedy} {options}") from None


def _share(holder: socket.socket) -> None:
    """Hold an address without listening, so that our workers may listen there, and no other server may.

    The workers of granian share a port, and would share it with another server of this kind too: each of the
    two would get some of the requests. On Linux a socket that was bound alone, and may be shared only from
    now on, lets in those that ask to share, and the exclusive claim of another server fails. Elsewhere the
    main process listens for its workers, and the address is free until it does.
    """
    if sys.platform != "linux":
        holder.close()
        return
    # In this order: at no moment may another server bind to it.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.shutdown(socket.SHUT_RDWR)


def _guard(path: Path) -> socket.socket | None:
    """A socket with a name beside the file system (Linux), which one server alone can bind.

    Between the look at a path and the listening there, another server could do the same.
    """
    if sys.platform != "linux":
        return None
    guard = socket.socket(socket.AF_UNIX)
    try:
        digest = hashlib.blake2b(os.fsencode(path.absolute()), digest_size=16).hexdigest()
        guard.bind(f"\0unpickled {digest}")
    except OSError:
        guard.close()
        raise _taken(path) from None
    return guard


def _claim_socket(path: Path) -> None:
    """Remove a socket on which nobody listens any more; ConfigError where the path is taken or unusable."""
    if not path.parent.is_dir():
        remedy = "create it, or choose another --uds"
        raise ConfigError(f"cannot listen on {path}: the folder {path.parent} does not exist: {remedy}")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            _try_to_bind(path)
            return
        except ConnectionRefusedError:
            if not path.is_socket():
                raise ConfigError(f"{path} is in the way: it is not a socket") from None
            path.unlink()
            return
        except OSError as error:
            raise _unusable(path, error) from None
    raise _taken(path)


def _try_to_bind(path: Path) -> None:
    """granian would fail with a traceback where the folder may not be written to."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise _unusable(path, error) from None
    path.unlink()


def _taken(path: Path) -> ConfigError:
    return ConfigError(f"another server listens on {path}: stop it, or choose another --uds")


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot listen on {path} ({error.strerror or error}): choose another --uds")
