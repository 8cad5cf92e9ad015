"""The members that every report about a model has, and how it is read back from an answer."""

from datetime import UTC, datetime
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import msgspec

from unpickled.server.errors import ServingError
from unpickled.server.message import strict
from unpickled.server.quote import shortened


class Numbered(Protocol):
    """The report about one version."""

    @property
    def version(self) -> int:
        """Its number."""


Version = TypeVar("Version", bound=Numbered)


class Report(msgspec.Struct, Generic[Version], frozen=True, kw_only=True):
    """A report about one model in one window.

    Each kind describes all its members, these too, as OpenAPI shows its docstring.

    Attributes:
        noun: The subject of such reports; the paths of their routes end in it.
    """

    noun: ClassVar[str]

    model: str
    window: str
    since: str
    until: str
    complete: bool
    versions: tuple[Version, ...] = ()

    @property
    def span(self) -> str:
        """The times between which its window lies."""
        return f"{self.since} to {self.until} ({self.window})"

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The document in the body of an answer. Raises ServingError where it is none."""
        try:
            # The strict reader makes floats of all numbers; whole ones stand for counts.
            return msgspec.convert(strict.parse(body), cls, strict=False)
        except Exception as error:
            cause = shortened(str(error), 200)
            raise ServingError(f"the answer is no report about {cls.noun}: {cause}") from None


def written(seconds: float) -> str:
    """A time in seconds since 1970, as reports write it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
