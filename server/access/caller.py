"""A caller that has been recognized: its name, its scopes, and how often it may ask."""

from unpickled.server.access.buckets import Bucket
from unpickled.server.access.scopes import Scopes
from unpickled.server.observe.counters import Numbers


class Caller:
    """A caller, as requests need it; a plain class, as each request reads five of its attributes.

    Attributes:
        name: The name of its key, empty for callers without one.
        scopes: All that it may do.
        until: When it has to be recognized anew, in seconds of time.monotonic().
        bucket: Its rate limit; None if it has none.
        counts: Its requests by class of status; None where they are not counted.
        every, models: Two of the scopes, for requests of predictions.
    """

    __slots__ = ("bucket", "counts", "every", "models", "name", "scopes", "until")

    def __init__(
        self, name: str, scopes: Scopes, until: float, bucket: Bucket | None, counts: Numbers | None
    ) -> None:
        self.name = name
        self.scopes = scopes
        self.until = until
        self.bucket = bucket
        self.counts = counts
        self.every, self.models = scopes.every, scopes.models
