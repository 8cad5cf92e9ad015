"""The values of a request that lie outside the training range, as its answer names them."""

from typing import Any

import msgspec

from unpickled.server.message.answer import Fragment

# Most values that an answer names one by one.
MOST = 100


class Outside(msgspec.Struct, frozen=True, gc=False):
    """The values outside the training range that a request was answered for.

    ``features`` are the names of their features, in the model's order; ``count`` is how many values there
    are. ``findings`` describe the first of them, MOST at most, by row and then by feature, as a JSON array:
    an object has ``row``, ``feature``, ``value`` and ``trained``, and ``used`` where another value was
    predicted.
    """

    features: tuple[str, ...]
    count: int
    findings: bytes

    @property
    def members(self) -> dict[str, Any]:
        """The members that an answer in JSON has beside its own."""
        more = {"outside_count": self.count} if self.count > MOST else {}
        return {"outside": Fragment(self.findings), **more}

    def appended(self, content: bytes) -> bytes:
        """An answer that is a JSON object, with these members at its end."""
        if self.count > MOST:
            return b'%b,"outside":%b,"outside_count":%d}' % (content[:-1], self.findings, self.count)
        return content[:-1] + b',"outside":' + self.findings + b"}"
