"""All forms, by their names and by the names of files."""

import gzip
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, cast

from unpickled.server.batch.forms.arrow import ARROW
from unpickled.server.batch.forms.csv import CSV
from unpickled.server.batch.forms.form import Form
from unpickled.server.batch.forms.jsonlines import JSON_LINES
from unpickled.server.batch.forms.parquet import PARQUET
from unpickled.server.errors import ServingError
from unpickled.server.quote import listed, quoted

FORMS = {form.name: form for form in (PARQUET, CSV, JSON_LINES, ARROW)}
ENDINGS = tuple(ending for form in FORMS.values() for ending in form.endings)
_GZIP = ".gz"


def form_of(path: str) -> Form:
    """The form of a file, by the end of its name; ServingError where that is none."""
    for form in FORMS.values():
        if path.lower().endswith(form.endings):
            return form
    raise ServingError(f"{quoted(path)} is of no form that is read: its name ends with {listed(ENDINGS)}")


def renamed(name: str, form: Form) -> str:
    """The name of a file with the end that this form has; the same where it has one of its ends."""
    if name.lower().endswith(form.endings):
        return name
    ending = max((end for end in ENDINGS if name.lower().endswith(end)), key=len, default="")
    return f"{name[: len(name) - len(ending)]}{form.endings[0]}"


def unpacked(path: str, file: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The content of an open file, unpacked where the name ends with .gz."""
    return cast(BinaryIO, gzip.open(file)) if path.lower().endswith(_GZIP) else nullcontext(file)


def packed(path: str, file: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """A file to write to, packed where the name ends with .gz: the same content makes the same bytes."""
    if path.lower().endswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile("", "wb", 3, file, mtime=0))
    return nullcontext(file)
