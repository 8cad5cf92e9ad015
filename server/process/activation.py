"""Socket activation: a service manager listens first, and hands its socket over when the server starts.

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

import os
import socket
from collections.abc import Mapping

from unpickled.server.errors import ConfigError

# The first descriptor that a manager hands over.
_FIRST = 3


def handed_over(environ: Mapping[str, str]) -> socket.socket | None:
    """The socket on which the manager listens for this process; None where there is none.

    Raises:
        ConfigError: There are several, or it is none that takes connections.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environ.get("LISTEN_FDS") != "1":
        count = environ.get("LISTEN_FDS")
        raise ConfigError(
            f"the service manager hands over {count} sockets (LISTEN_FDS): name one ListenStream in the unit"
        )
    try:
        listener = socket.socket(fileno=_FIRST)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listens = 0
    if not listens:
        raise ConfigError(
            "descriptor 3 is no listening socket, though LISTEN_FDS says so: use ListenStream in the unit"
        )
    return listener
