"""How a server has started: its processes tell one another, in memory that they share."""

from unpickled.server.shared import Shared

# One byte each, then the name of the default model, which is as long as the name of a folder.
_ANNOUNCED, _FAILED, _DEFAULT, _SIZE = 0, 1, 2, 258


class Start(Shared):
    """The start of one server."""

    def __init__(self) -> None:
        super().__init__(_SIZE)

    def announce(self, default: str) -> bool:
        """Note the default model; True for the first worker alone, which prints the banner."""
        with self._locked():
            if self._memory[_ANNOUNCED]:
                return False
            name = default.encode()
            self._memory[_DEFAULT : _DEFAULT + len(name)] = name
            self._memory[_ANNOUNCED] = 1
            return True

    @property
    def announced(self) -> bool:
        """Whether a worker could start with these settings."""
        return bool(self._memory[_ANNOUNCED])

    @property
    def default(self) -> str:
        """The default model that the first worker chose, so that its successors keep it; "" without one."""
        return self._memory[_DEFAULT:].rstrip(b"\0").decode()

    @property
    def failed(self) -> bool:
        """Whether a worker has found the settings wrong."""
        return bool(self._memory[_FAILED])

    def fail(self) -> bool:
        """Note that the settings are wrong; True for the first worker alone, which prints the reason."""
        with self._locked():
            first = not self._memory[_FAILED]
            self._memory[_FAILED] = 1
        return first
