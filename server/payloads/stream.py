"""The stream that a frame belongs to."""

from typing import NamedTuple

from unpickled.server.observe.logged import LOGGED, LOGGED_SHADOW
from unpickled.server.payloads.ring import Frame


class Stream(NamedTuple):
    """The rows of one schema: those that clients got, or those that a shadow answered out of sight."""

    schema: int
    is_shadow: bool

    @property
    def kind(self) -> str:
        """The kind of the series that count them."""
        return LOGGED_SHADOW if self.is_shadow else LOGGED

    @property
    def number(self) -> int:
        """The stream in a frame."""
        return 2 * self.schema + self.is_shadow

    @classmethod
    def of(cls, frame: Frame) -> "Stream":
        """The stream of a frame."""
        return cls(frame.stream // 2, frame.stream % 2 == 1)
