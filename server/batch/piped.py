"""The rows of a pipe, scored into another one as they come."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from unpickled.server.batch.bound import Bound
from unpickled.server.batch.failures import FAILURES, is_full, shown
from unpickled.server.batch.forms.arrow import ARROW
from unpickled.server.batch.forms.csv import CSV
from unpickled.server.batch.forms.form import Form
from unpickled.server.batch.forms.jsonlines import JSON_LINES
from unpickled.server.batch.forms.registry import FORMS
from unpickled.server.batch.progress import Progress
from unpickled.server.batch.refusals import Refusals
from unpickled.server.batch.task import Part
from unpickled.server.batch.totals import Totals
from unpickled.server.batch.worker import Worker
from unpickled.server.errors import RequestError, ServingError

# The first bytes of forms; a table with others is CSV.
_BEGINNINGS = {b"\xff\xff\xff\xff": ARROW}
_OTHERS = {
    b"PAR1": "the input is Parquet, which is read from its end: name the file instead of -",
    b"ARROW1": "the input is an Arrow file: send an Arrow stream, as pyarrow.ipc.new_stream writes it",
    b"\x1f\x8b": "the input is packed: unpack it with gzip -dc, or name the file instead of -",
}
# The rows of a pipe, for their log: their job is a new one each time.
_PART = Part(source="-", target="-", refused="", size=0)
_REMEDY = "look into them, and start again with a higher --max-refused"


class _Lines:
    """A file of refused rows whose reasons are printed instead."""

    def write(self, line: bytes) -> int:
        from unpickled.server.message import strict

        print(f"refused: {strict.parse(line)['error']}", file=sys.stderr)
        return len(line)


def scored(
    worker: Worker, source: BinaryIO, target: BinaryIO, form: str | None, bound: Bound, refused: str | None
) -> Totals:
    """Score all rows of a pipe.

    Args:
        worker: Scores them.
        source: The rows, buffered: their first bytes say whether they are CSV, JSON Lines or an Arrow stream.
        target: The answers.
        form: The name of their form; without it, that of the rows.
        bound: The most rows that may be refused.
        refused: The file of refused rows; without it, their reasons go to the standard error.

    Raises:
        ServingError: The rows cannot be read or are not for the model, or too many are refused.
        BrokenPipeError: Nobody reads the answers.
    """
    given = _form_of(source)
    progress = Progress(None)
    with ExitStack() as stack:
        # Opened at once, the file has no rows of an earlier run.
        file = _opened(stack, refused)
        refusals = Refusals(lambda: file)

        def told(rows: int) -> None:
            target.flush()
            progress.told(rows)
            Bound(bound.rows).check(refusals.count, 0, _REMEDY)

        try:
            with worker.logged(_PART) as log:
                written = FORMS[form] if form else given
                counts = worker.stream(given, source, written, target, refusals, told, log)
                target.flush()
        except BrokenPipeError:
            raise
        except (RequestError, *FAILURES) as error:
            place = "the output" if is_full(error) else "the input"
            raise ServingError(f"{place}: {shown(error)}") from error
        finally:
            progress.clear()
    bound.check(refusals.count, counts.rows + refusals.count, _REMEDY)
    return Totals(
        rows=counts.rows, refused=refusals.count, outside=counts.outside, features=tuple(counts.features)
    )


def _form_of(source: BinaryIO) -> Form:
    head: bytes = cast(Any, source).peek(8)
    form = next((form for start, form in _BEGINNINGS.items() if head.startswith(start)), None)
    for start, sentence in _OTHERS.items():
        if head.startswith(start):
            raise ServingError(sentence)
    if form is None:
        return JSON_LINES if head.lstrip()[:1] in (b"{", b"[") else CSV
    return form


def _opened(stack: ExitStack, path: str | None) -> BinaryIO:
    if path is None:
        return cast(BinaryIO, _Lines())
    try:
        return stack.enter_context(Path(path).open("wb"))
    except OSError as error:
        raise ServingError(f"--refused {path} cannot be written: {error.strerror}") from None
