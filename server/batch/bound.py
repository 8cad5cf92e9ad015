"""The most rows that a job may refuse before it stops."""

from typing import NamedTuple

from unpickled.server.errors import ServingError
from unpickled.server.quote import counted, quoted


class Bound(NamedTuple):
    """A number of rows, or a share of all rows; without both there is none."""

    rows: int | None = None
    share: float | None = None

    @classmethod
    def read(cls, text: str) -> "Bound":
        """The bound in a text such as ``100`` or ``1%``; ServingError where it is none."""
        number = text.removesuffix("%")
        try:
            bound = cls(share=float(number) / 100) if number != text else cls(rows=int(number))
        except ValueError:
            bound = cls(rows=-1)
        if (bound.rows or 0) < 0 or not 0 <= (bound.share or 0) <= 1:
            raise ServingError(
                f"--max-refused is {quoted(text)}: write a number of rows, or a share such as 1%"
            )
        return bound

    def check(self, refused: int, rows: int, remedy: str) -> None:
        """ServingError where so many of so many rows are too many."""
        if self.rows is not None and refused > self.rows:
            most = f"{self.rows:,}"
        elif self.share is not None and refused > self.share * rows:
            most = f"{100 * self.share:g}% of {rows:,}"
        else:
            return
        raise ServingError(
            f"{counted(refused, 'row')} refused are more than --max-refused allows ({most}): {remedy}"
        )
