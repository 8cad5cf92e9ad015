"""The address of the server: checked before the server starts, and waited for until it answers."""

import os
import socket
import time
from errno import EADDRINUSE
from pathlib import Path

from msgspec.structs import replace

from unpickled.server.config import Listening
from unpickled.server.errors import ConfigError


def claim(listening: Listening) -> Listening:
    """The settings, with the host as an IP address; ConfigError where the address is taken or unusable."""
    if listening.uds:
        _claim_socket(Path(listening.uds))
        return listening
    return replace(listening, host=_claim_port(listening.host, listening.port))


def wait(listening: Listening, seconds: float = 60.0) -> None:
    """Wait until the address takes connections, at most ``seconds``."""
    family = socket.AF_UNIX if listening.uds else socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(family) as probe:
            if probe.connect_ex(listening.uds or (listening.host, listening.port)) == 0:
                return
        time.sleep(0.005)


def _claim_port(host: str, port: int) -> str:
    # The workers of granian share a port, and would share it with another server of this kind too: each of
    # the two would get some of the requests.
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family) as listener:
            return str(listener.getsockname()[0])
    except OSError as error:
        # Take the system's text, as Python adds the address to its own; look-up errors are negative.
        code = error.errno or 0
        reason = os.strerror(code) if code > 0 else error.strerror
        remedy = "stop what listens there, or choose another" if code == EADDRINUSE else "choose another"
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): {remedy} --host or --port"
        ) from None


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
    raise ConfigError(f"another server listens on {path}: stop it, or choose another --uds")


def _try_to_bind(path: Path) -> None:
    """granian would fail with a traceback where the folder may not be written to."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise _unusable(path, error) from None
    path.unlink()


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot listen on {path} ({error.strerror or error}): choose another --uds")
