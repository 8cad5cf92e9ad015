"""The way of rows from the workers of one server to its payload log."""

from typing import NamedTuple

from unpickled.server.config import Log
from unpickled.server.payloads import upload
from unpickled.server.payloads.claim import Claim
from unpickled.server.payloads.ring import Rings
from unpickled.server.payloads.schema import key_of


class Transport(NamedTuple):
    """The rings into which workers put rows, and the claim of their server on its journals.

    ``key`` is that of hashes, read once: a worker or a writer that starts later needs the file no more. It is
    None where nothing is hashed.
    """

    rings: Rings
    claim: Claim
    key: bytes | None

    @classmethod
    def of(cls, log: Log, places: int) -> "Transport | None":
        """New rings for ``places`` workers; None where nothing is logged.

        Raises:
            ConfigError: The folder of the payload log cannot be written to, or a key or library is missing.
        """
        if not log.log_share:
            return None
        key = key_of(log)
        upload.check(log.log_to)
        return cls(Rings(places), Claim(log.log_folder), key)
